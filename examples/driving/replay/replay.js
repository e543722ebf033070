"use strict";
// One clock for all drives: play, pause, scrub, step. `window.replay.state()` says what is shown.

(() => {
  const { world, runs } = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  const last = Math.max(...runs.map((run) => run.ticks)) - 1;
  const clock = { time: 0, playing: false, rate: 2, before: null };
  const ICONS = { keep: "=", faster: "+", slower: "−", brake: "■", left: "↖", right: "↘" };

  const views = [...document.querySelectorAll(".run")].map((element, i) => {
    const parts = Object.fromEntries([...element.querySelectorAll("[data-show]")].map((e) => [e.dataset.show, e]));
    const [road, ahead] = [Road, Ahead].map((Kind, k) => new Kind(element.querySelectorAll("canvas")[k], runs[i], world));
    return { element, parts, road, ahead, run: runs[i], head: element.querySelector(".playhead i"), shown: -1, colours: null };
  });

  const tickOf = (run) => Math.min(Math.floor(clock.time), run.ticks - 1);
  const over = (run) => clock.time >= run.ticks - 1;
  const minutes = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;
  const sum = (values, end) => values.slice(0, end + 1).reduce((a, b) => a + Number(b), 0);
  const number = (x, digits) => x.toFixed(digits).replace("-", "−");
  const ago = (tick, read) => (read < 0 ? "not read yet" : read === tick ? "read now" : `read ${tick - read} s ago`);

  function put(element, said) {
    if (element.textContent !== said) element.textContent = said;
  }

  // ---------------------------------------------------------------- the panel beside a drive

  function panel(view, t) {
    const { parts: p, run } = view, f = run.fields;
    put(p.speed, f.speed[t].toFixed(1));
    put(p.kmh, `m/s · ${(3.6 * f.speed[t]).toFixed(0)} km/h`);
    p.pace.classList.toggle("over", f.over[t]);
    put(p.limit, String(f.limit[t]));
    put(p.known, String(f.fact_limit[t]));
    if (!run.memory) put(p.age, ago(t, run.signRead[t]));
    turning(p, run, t);
    deed(p, run, t);
    figures(p, run, t);
    mode(p, world.modes[f.mode[t]]);
    outcome(p, run);
  }

  function turning(p, run, t) {
    const known = run.fields.fact_left_only[t], far = run.fields.fact_junction[t];
    p.arrow.classList.toggle("known", known);
    put(p["arrow-said"], known ? `left lane turns in ${far.toFixed(0)} m` : "no turning lane known");
    put(p["arrow-age"], run.memory || (run.arrowRead[t] < 0 ? "no arrow read yet" : `arrow ${ago(t, run.arrowRead[t])}`));
  }

  function deed(p, run, t) {
    const f = run.fields, ended = over(run);
    const [chosen, done] = [world.actions[f.chosen[t]], world.actions[f.action[t]]];
    p.deed.classList.toggle("overridden", f.overridden[t] && !ended);
    put(p["deed-icon"], ended ? "·" : (ICONS[done] ?? "•"));
    put(p.done, ended ? "the drive has ended" : done);
    put(p.choice, ended ? "" : f.overridden[t] ? `the shield overrode “${chosen}”` : "as chosen");
  }

  function figures(p, run, t) {
    const f = run.fields;
    put(p.reward, number(f.reward[t], 2));
    put(p.returned, number(run.returned[t], 1));
    put(p.over, String(sum(f.over, t)));
    put(p.overrides, String(sum(f.overridden, t)));
  }

  function mode(p, name) {
    put(p.mode, name);
    p.mode.className = `chip ${name}`;
  }

  function outcome(p, run) {
    const wrong = sum(run.fields.wrong, tickOf(run)), faulty = run.fields.faulty[tickOf(run)] && !over(run);
    const said = faulty ? ["sensors fail"] : [];
    if (wrong) said.push(`${wrong} wrong turn${wrong > 1 ? "s" : ""}`);
    if (over(run)) said.push(run.crashed ? `crashed at ${minutes(run.ticks - 1)}` : "arrived");
    put(p.outcome, said.join(" · "));
    p.outcome.classList.toggle("faulty", faulty);
    p.outcome.classList.toggle("crash", wrong > 0 || (over(run) && run.crashed));
  }

  // ---------------------------------------------------------------- every value, for those who want them all

  const rows = Object.keys(runs[0].fields).map((name) => {
    const row = byId("values").querySelector("tbody").insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head);
    return { name, cells: runs.map(() => row.insertCell()) };
  });

  const value = (x) => (Array.isArray(x) ? x.map(value).join("  ") : x === null ? "–" : typeof x === "number" ? String(+x.toFixed(3)) : String(x));

  function values() {
    if (!byId("values").open) return;
    for (const { name, cells } of rows) cells.forEach((cell, i) => put(cell, value(runs[i].fields[name][tickOf(runs[i])])));
  }

  // ---------------------------------------------------------------- drawing

  function draw() {
    for (const view of views) {
      if (view.element.hidden) continue;
      const now = motion(view.run, Math.min(clock.time, view.run.ticks - 1), world);
      view.colours ??= palette(view.element);
      view.road.draw(now, view.colours);
      view.ahead.draw(now, view.colours);
      view.head.style.transform = `translateX(${(100 * clock.time) / last}%)`;
      const key = now.tick + (over(view.run) ? 0.5 : 0);
      if (key !== view.shown) panel(view, now.tick);
      view.shown = key;
    }
    values();
    const scrub = byId("scrub");
    scrub.value = clock.time;
    scrub.setAttribute("aria-valuetext", `${Math.floor(clock.time)} of ${last} seconds`);
    put(byId("clock"), minutes(clock.time));
  }

  function frame(stamp) {
    if (!clock.playing) return;
    const passed = clock.before === null ? 0 : Math.min((stamp - clock.before) / 1000, 0.25);
    clock.before = stamp;
    seek(clock.time + passed * clock.rate);
    if (clock.time >= last) pause();
    else requestAnimationFrame(frame);
  }

  // ---------------------------------------------------------------- which drives are shown

  const choices = [...byId("choices").children];

  function show(...asked) {
    const names = asked.flat(), strange = names.find((name) => !runs.some((run) => run.name === name));
    if (strange !== undefined) throw new RangeError(`There is no drive "${strange}": there are ${runs.map((run) => run.name).join(", ")}.`);
    views.forEach((view, i) => {
      view.element.hidden = !names.includes(view.run.name);
      choices[i].setAttribute("aria-pressed", String(!view.element.hidden));
    });
    draw();
  }

  const shown = () => views.filter((view) => !view.element.hidden).map((view) => view.run.name);
  choices.forEach((button, i) => (button.onclick = () => {
    const name = runs[i].name, now = shown();
    show(now.includes(name) ? now.filter((other) => other !== name) : [...now, name]);
  }));

  // ---------------------------------------------------------------- the clock

  function seek(time) {
    clock.time = Math.min(Math.max(Number(time) || 0, 0), last);
    draw();
  }

  function play() {
    if (clock.playing) return;
    if (clock.time >= last) clock.time = 0;
    Object.assign(clock, { playing: true, before: null });
    button();
    requestAnimationFrame(frame);
  }

  function pause() {
    clock.playing = false;
    button();
  }

  function button() {
    root.classList.toggle("playing", clock.playing);
    byId("play").setAttribute("aria-label", clock.playing ? "Pause" : "Play");
  }

  function step(seconds) {
    pause();
    seek(Math.round(clock.time) + seconds);
  }

  const toggle = () => (clock.playing ? pause() : play());

  function rate(value) {
    clock.rate = Number(value) || 1;
    byId("rate").value = String(clock.rate);
  }

  function theme(name) {
    root.dataset.theme = name;
    views.forEach((view) => (view.colours = null));
    draw();
  }

  function state() {
    const at = (run, t) => Object.fromEntries(Object.entries(run.fields).map(([name, x]) => [name, x[t]]));
    return {
      time: clock.time, playing: clock.playing, rate: clock.rate, last, theme: root.dataset.theme, shown: shown(),
      runs: runs.map((run) => ({ name: run.name, tick: tickOf(run), over: over(run), returned: run.returned[tickOf(run)], now: at(run, tickOf(run)) })),
    };
  }

  // ---------------------------------------------------------------- what a person does

  const KEYS = {
    " ": toggle, ArrowLeft: (e) => step(e.shiftKey ? -10 : -1), ArrowRight: (e) => step(e.shiftKey ? 10 : 1),
    Home: () => step(-last), End: () => step(last),
  };

  addEventListener("keydown", (event) => {
    const taken = event.target.closest?.("select, summary, button, input") && event.key === " ";
    if (taken || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS) || event.target.matches?.("select")) return;
    event.preventDefault();
    KEYS[event.key](event);
  });

  function drag(event) {
    const strip = event.currentTarget.querySelector(".playhead").getBoundingClientRect();
    if (event.type === "pointerdown") event.currentTarget.setPointerCapture(event.pointerId);
    if (!event.buttons) return;
    pause();
    seek((last * (event.clientX - strip.left)) / strip.width);
  }

  document.querySelectorAll(".times").forEach((strip) => ["pointerdown", "pointermove"].forEach((kind) => strip.addEventListener(kind, drag)));
  byId("play").onclick = toggle;
  byId("back").onclick = () => step(-1);
  byId("forth").onclick = () => step(1);
  byId("scrub").oninput = (event) => { pause(); seek(event.target.value); };
  byId("rate").onchange = (event) => rate(event.target.value);
  byId("theme").onclick = () => theme(root.dataset.theme === "dark" ? "light" : "dark");
  byId("values").ontoggle = values;
  new ResizeObserver(draw).observe(byId("replay"));

  function note(said = "") {
    put(byId("note"), said);
    byId("note").hidden = !said;
  }

  // `#t=37&paused&rate=4&theme=dark&values&show=latched&show=shielded` says how the page opens; it may be a link to a moment.
  function fromAddress() {
    const asked = new URLSearchParams(location.hash.slice(1));
    if (asked.has("rate")) rate(asked.get("rate"));
    if (asked.has("values")) byId("values").open = true;
    if (asked.has("theme")) theme(asked.get("theme"));
    note();
    try {
      if (asked.has("show")) show(asked.getAll("show"));
    } catch (error) {
      note(error.message);
    }
    if (asked.has("t")) seek(asked.get("t"));
    if (asked.has("paused")) pause();
    return asked;
  }

  const preferred = matchMedia("(prefers-color-scheme: dark)");
  preferred.addEventListener("change", () => theme(preferred.matches ? "dark" : "light"));
  addEventListener("hashchange", fromAddress);
  theme(preferred.matches ? "dark" : "light");
  const still = fromAddress().has("paused") || matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (!still) play();
  window.replay = { state, seek, play, pause, step, rate, theme, show };
})();
