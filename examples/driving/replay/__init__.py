"""What a person sees of the drivers: a page that replays their drives, a scorecard, a GIF.

`page.write` writes one HTML file that needs no other, `gif.write` the same as a moving picture, `scorecard.table` a table for the
terminal. They read records: arrays by tick, named as `episode.FIELDS` has them.
"""
