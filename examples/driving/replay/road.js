"use strict";
// The road from above, in the frame of the learning car, which drives to the right: left lanes are above.

const LANE_PX = 28, ROAD_TOP = 12, EGO_AT = 0.26, STEEPEST = 0.3, BEHIND = 100, AHEAD = 420;

const colour = (element, name) => getComputedStyle(element).getPropertyValue("--" + name).trim();
const COLOURS = ["asphalt", "asphalt-edge", "verge", "paint", "traffic", "glass", "run", "car", "sight", "ink", "soft", "edge", "card", "bad", "degraded"];

function palette(element) {
  return Object.fromEntries(COLOURS.map((name) => [name, colour(element, name)]));
}

// A canvas whose unit is a CSS pixel; sized anew only where its element was.
function brush(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const wide = canvas.clientWidth, high = canvas.clientHeight;
  if (canvas.width !== Math.round(wide * ratio) || canvas.height !== Math.round(high * ratio)) {
    canvas.width = Math.round(wide * ratio);
    canvas.height = Math.round(high * ratio);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, wide, high);
  return { pen, wide, high };
}

const nearest = (metres, ring) => metres - ring * Math.round(metres / ring);

// Cubic Hermite over a second, with these speeds at its ends: exact where the acceleration is constant.
function between(start, end, before, after, part) {
  const s2 = part * part, s3 = s2 * part;
  return (2 * s3 - 3 * s2 + 1) * start + (s3 - 2 * s2 + part) * before + (3 * s2 - 2 * s3) * end + (s3 - s2) * after;
}

// Where everybody is at a time between ticks: metres since the opening, lanes, lanes per second, m/s².
function motion(run, time, world) {
  const f = run.fields, t = Math.min(Math.floor(time), run.ticks - 1), n = Math.min(t + 1, run.ticks - 1), part = time - t;
  const eased = (a, b) => ({ lane: a + (b - a) * part * part * (3 - 2 * part), drift: 6 * part * (1 - part) * (b - a), to: b - a });
  const ego = { at: between(f.place[t], f.place[n], f.speed[t], f.speed[n], part), pull: f.pull[n], ...eased(f.lane[t], f.lane[n]) };
  const cars = f.cars_place[t].map((place, i) => {
    const start = f.place[t] + place;
    const end = start + nearest(f.place[n] + f.cars_place[n][i] - start, world.ring);
    const at = between(start, end, f.cars_speed[t][i], f.cars_speed[n][i], part);
    return {
      at: ego.at + nearest(at - ego.at, world.ring),
      pull: f.cars_speed[n][i] - f.cars_speed[t][i],
      ...eased(f.cars_lane[t][i], f.cars_lane[n][i]),
    };
  });
  return { ego, cars, tick: t, part };
}

class Road {
  constructor(canvas, run, world) {
    Object.assign(this, { canvas, run, world });
  }

  draw(now, colours) {
    Object.assign(this, brush(this.canvas), { colours, now });
    this.scale = Math.min(7.2, Math.max(4.2, this.wide / 140));
    this.left = now.ego.at - (this.wide * EGO_AT) / this.scale;
    this.surface();
    this.zones();
    this.junctions();
    this.paint();
    this.pings();
    now.cars.forEach((car) => this.car(car, this.colours.traffic));
    this.car(now.ego, this.colours.car, true);
    this.signs();
    if (this.run.crashed && now.tick === this.run.ticks - 1) this.burst();
  }

  x(metres) { return (metres - this.left) * this.scale; }
  y(lane) { return ROAD_TOP + (lane + 0.5) * LANE_PX; }
  get bottom() { return ROAD_TOP + this.world.lanes * LANE_PX; }

  box(x, y, wide, high, fill) {
    this.pen.fillStyle = fill;
    this.pen.fillRect(x, y, wide, high);
  }

  surface() {
    this.box(0, 0, this.wide, this.high, this.colours.verge);
    this.box(0, ROAD_TOP - 4, this.wide, this.bottom - ROAD_TOP + 8, this.colours["asphalt-edge"]);
    this.box(0, ROAD_TOP, this.wide, this.bottom - ROAD_TOP, this.colours.asphalt);
  }

  // From where signs can be read, and over which stretch the arrow of the left lane.
  zones() {
    const { signSeen, arrowSeen } = this.world;
    this.pen.globalAlpha = 0.34;
    for (const [at] of this.run.signs) this.box(this.x(at - signSeen), this.bottom + 4, signSeen * this.scale, 5, this.colours.sight);
    for (const [at] of this.run.junctions) {
      this.box(this.x(at - arrowSeen[1]), ROAD_TOP - 9, (arrowSeen[1] - arrowSeen[0]) * this.scale, 5, this.colours.sight);
      this.pen.globalAlpha = 0.13;
      this.box(this.x(at - arrowSeen[1]), ROAD_TOP, (arrowSeen[1] - arrowSeen[0]) * this.scale, LANE_PX, this.colours.sight);
      this.pen.globalAlpha = 0.34;
    }
    this.pen.globalAlpha = 1;
  }

  // A side road to the left at each junction; where the left lane is for turning, its arrows.
  junctions() {
    for (const [at, turns] of this.run.junctions) {
      const [far, near] = this.world.arrowSeen.slice().reverse();
      this.box(this.x(at - 6), 0, 12 * this.scale, ROAD_TOP + 2, this.colours.asphalt);
      if (!turns) continue;
      for (let m = far - 10; m > near; m -= 30) this.arrow(this.x(at - m), this.y(0) + 1, 1, this.colours.paint);
      this.box(this.x(at - 60), ROAD_TOP + LANE_PX - 1, 54 * this.scale, 2, this.colours.paint);
    }
  }

  // To the left, as painted on the road.
  arrow(x, y, size, paint) {
    const at = (points) => points.map(([dx, dy]) => [x + size * dx, y + size * dy]);
    this.pen.strokeStyle = paint;
    this.pen.lineWidth = 2.6 * size;
    this.stroke(at([[-14, 5], [5, 5], [5, -7]]));
    this.stroke(at([[0, -3], [5, -9], [10, -3]]));
  }

  stroke(points) {
    this.pen.beginPath();
    points.forEach(([x, y]) => this.pen.lineTo(x, y));
    this.pen.stroke();
  }

  // Dashes every 12 m, which go by as the car drives.
  paint() {
    const { pen } = this;
    pen.fillStyle = this.colours.paint;
    pen.globalAlpha = 0.75;
    for (const y of [ROAD_TOP + 2, this.bottom - 4]) pen.fillRect(0, y, this.wide, 2);
    for (let m = Math.floor(this.left / 12) * 12; this.x(m) < this.wide; m += 12) {
      for (let lane = 1; lane < this.world.lanes; lane++) pen.fillRect(this.x(m), ROAD_TOP + lane * LANE_PX - 1, 4.5 * this.scale, 2);
    }
    pen.globalAlpha = 1;
  }

  // The radar's readings of this second, fading; a sector whose reading did not come shows it.
  pings() {
    const { pen, world, now, run } = this, lane = run.fields.lane[now.tick];
    run.fields.gap[now.tick].forEach((gap, sector) => {
      const beside = lane + (sector % world.lanes) - 1;
      if (beside >= 0 && beside < world.lanes) this.ping(gap, sector < world.lanes ? 1 : -1, this.y(beside));
    });
    pen.setLineDash([]);
    pen.globalAlpha = 1;
  }

  ping(gap, way, y) {
    const { pen, world, now } = this, lost = gap === null || gap < -world.reach, free = gap > world.reach - 3;
    if (!lost && gap <= 0) return;
    pen.lineWidth = 2;
    pen.globalAlpha = (lost ? 0.9 : free ? 0.25 : 0.8) * (1 - 0.85 * now.part);
    pen.strokeStyle = lost ? this.colours.bad : this.colours.sight;
    pen.setLineDash(lost ? [3, 5] : []);
    const from = this.x(now.ego.at + (way * world.length) / 2), end = from + way * (lost ? 80 : gap * this.scale);
    this.stroke([[from + way * 4, y], [end, y]]);
    if (!lost && !free) this.stroke([[end, y - 6], [end, y + 6]]);
  }

  car(car, paint, own = false) {
    const { pen, scale, world } = this, long = world.length * scale, wide = (world.width / world.laneWidth) * LANE_PX;
    const x = this.x(car.at);
    if (x < -long || x > this.wide + long) return;
    pen.save();
    pen.translate(x, this.y(car.lane));
    pen.rotate(Math.max(-STEEPEST, Math.min(STEEPEST, Math.atan2(car.drift * LANE_PX, 16 * scale))));
    if (own) this.halo(long, wide);
    pen.fillStyle = paint;
    pen.beginPath();
    pen.roundRect(-long / 2, -wide / 2, long, wide, [4, 6, 6, 4]);
    pen.fill();
    this.glass(long, wide);
    this.lamps(car, long, wide);
    pen.restore();
  }

  halo(long, wide) {
    this.pen.globalAlpha = 0.32;
    this.pen.fillStyle = this.colours.car;
    this.pen.beginPath();
    this.pen.roundRect(-long / 2 - 5, -wide / 2 - 5, long + 10, wide + 10, 10);
    this.pen.fill();
    this.pen.globalAlpha = 1;
  }

  glass(long, wide) {
    const { pen } = this;
    pen.fillStyle = this.colours.glass;
    pen.globalAlpha = 0.8;
    pen.beginPath();
    pen.roundRect(long * 0.1, -wide * 0.38, long * 0.16, wide * 0.76, 2);
    pen.roundRect(-long * 0.36, -wide * 0.34, long * 0.1, wide * 0.68, 2);
    pen.fill();
    pen.globalAlpha = 1;
  }

  // Brakes, and the indicator of a change of lanes.
  lamps(car, long, wide) {
    if (car.pull < -0.8) {
      this.box(-long / 2 - 1, -wide / 2 + 1, 3, 4, "#ff3b30");
      this.box(-long / 2 - 1, wide / 2 - 5, 3, 4, "#ff3b30");
    }
    if (car.to && Math.floor(this.now.part * 4) % 2 === 0) {
      const y = car.to < 0 ? -wide / 2 - 1 : wide / 2 - 3;
      this.box(long / 2 - 6, y, 5, 4, "#ffb000");
      this.box(-long / 2 + 1, y, 5, 4, "#ffb000");
    }
  }

  // Signs stand at the right; the one that is being read is joined to the car.
  signs() {
    const { pen, run, now } = this, read = run.fields.sign_read[now.tick], foot = this.bottom + 15;
    for (const [at, limit] of run.signs) {
      const x = this.x(at);
      if (x < -20 || x > this.wide + 20) continue;
      const place = run.fields.place[now.tick], lit = read && at - place <= this.world.signSeen && at - place > -60;
      if (lit) this.sightline(x, foot);
      this.roundel(x, foot, 13, limit, lit);
    }
    pen.textAlign = "start";
  }

  sightline(x, y) {
    this.pen.strokeStyle = this.colours.sight;
    this.pen.lineWidth = 2.5;
    this.pen.globalAlpha = 1 - 0.7 * this.now.part;
    this.stroke([[this.x(this.now.ego.at + this.world.length / 2), this.y(this.now.ego.lane)], [x, y]]);
    this.pen.globalAlpha = 1;
  }

  roundel(x, y, radius, limit, lit = false) {
    const { pen } = this;
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.fillStyle = "#ffffff";
    pen.fill();
    pen.lineWidth = radius * 0.24;
    pen.strokeStyle = "#c5221f";
    pen.stroke();
    if (lit) {
      pen.beginPath();
      pen.arc(x, y, radius + 4, 0, 2 * Math.PI);
      pen.strokeStyle = this.colours.sight;
      pen.stroke();
    }
    this.word(limit, x, y + radius * 0.36, radius, "#14181d");
  }

  word(said, x, y, size, fill) {
    this.pen.fillStyle = fill;
    this.pen.font = `700 ${size}px system-ui, sans-serif`;
    this.pen.textAlign = "center";
    this.pen.fillText(said, x, y);
  }

  burst() {
    const { pen, now } = this, x = this.x(now.ego.at), y = this.y(now.ego.lane);
    pen.strokeStyle = this.colours.bad;
    pen.lineWidth = 4;
    for (let i = 0; i < 12; i++) {
      const [dx, dy] = [Math.cos((i * Math.PI) / 6), Math.sin((i * Math.PI) / 6)];
      this.stroke([[x + 24 * dx, y + 20 * dy], [x + 38 * dx, y + 32 * dy]]);
    }
  }
}

// The next 400 m on one line: what is there above it, what is remembered of it below.
class Ahead extends Road {
  draw(now, colours) {
    Object.assign(this, brush(this.canvas), { colours, now });
    this.scale = this.wide / (BEHIND + AHEAD);
    this.left = now.ego.at - BEHIND;
    this.line = 18;
    this.ruler();
    this.things();
    this.traffic();
    this.memory();
  }

  ruler() {
    this.box(0, this.line - 6, this.wide, 12, this.colours.edge);
    for (let m = 0; m <= AHEAD; m += 100) {
      const x = this.x(this.now.ego.at + m);
      this.word(m ? `${m} m` : "", x, this.high - 5, 10.5, this.colours.soft);
    }
  }

  things() {
    const { signSeen, arrowSeen } = this.world;
    for (const [at, turns] of this.run.junctions) {
      this.band(at - arrowSeen[1], at - arrowSeen[0], 0);
      this.box(this.x(at) - 2, this.line - 13, 4, 26, this.colours.soft);
      if (turns) this.arrow(this.x(at) - 11, this.line - 8, 0.7, this.colours.ink);
    }
    for (const [at, limit] of this.run.signs) {
      if (Math.abs(at - this.now.ego.at) > BEHIND + AHEAD) continue;
      this.band(at - signSeen, at, 8);
      this.roundel(this.x(at), 10, 9, limit);
    }
  }

  band(from, to, down) {
    this.pen.globalAlpha = 0.55;
    this.box(this.x(from), this.line - 6 + down, (to - from) * this.scale, 4, this.colours.sight);
    this.pen.globalAlpha = 1;
  }

  traffic() {
    const wide = Math.max(4, this.world.length * this.scale);
    const at = (car) => [this.x(car.at) - wide / 2, this.line - 5.5 + car.lane * 4];
    for (const car of this.now.cars) this.box(...at(car), wide, 3, this.colours.soft);
    const [x, y] = at(this.now.ego);
    this.box(x - 2, y - 1, wide + 4, 5, this.colours.run);
  }

  // Where the car believes that its lane must turn.
  memory() {
    const { fact_left_only: turns, fact_junction: far } = this.run.fields, t = this.now.tick;
    if (!turns[t] || !this.run.knows) return;
    const x = this.x(this.run.fields.place[t] + far[t]), y = this.line + 9;
    this.pen.fillStyle = this.colours.run;
    this.pen.beginPath();
    [[0, 0], [6, 9], [-6, 9]].forEach(([dx, dy]) => this.pen.lineTo(x + dx, y + dy));
    this.pen.fill();
  }
}
