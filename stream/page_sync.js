// Which picture belongs on the screen now: pictures wait until their detection has come.
//
// A step arrives about 0.8 s after its capture, pictures after 0.1 s. The delay between media time
// and the arrival of steps is measured and smoothed; a picture is due when its media time has gone
// by that delay. Pictures come 8 times a second and steps twice, and each arrival asks what is due:
// no timer runs. Times in seconds, `now` of the page's own clock.

const SMOOTHING = 0.15; // weight of the newest step in the delay
const JUMP = 1.0; // a delay that changes by so much is a new one: a reconnection, another session
const HALF_TICK = 0.064;
const MOST = 60; // pictures that wait, of a source: 7.7 s

export class PictureQueue {
  constructor() {
    this.clear();
  }

  clear() {
    this.waiting = []; // {time, blob}
    this.shown = -Infinity; // media time
    this.stepDelay = null; // arrival of steps minus media time
    this.pictureDelay = null;
    this.newestStep = -Infinity;
  }

  /** Take a picture in. */
  add(picture, now) {
    const newest = this.waiting.at(-1)?.time ?? this.shown;
    if (picture.time < newest - JUMP) this.clear(); // the source began again
    this.pictureDelay = smooth(this.pictureDelay, now - picture.time);
    this.waiting.push(picture);
    if (this.waiting.length > MOST) this.waiting.shift();
  }

  /** Note that the step of a media time has arrived. */
  step(time, now) {
    if (time < this.newestStep - JUMP) this.clear();
    this.newestStep = time;
    this.stepDelay = smooth(this.stepDelay, now - time);
  }

  /** Return how long pictures are held back, or null before it is known. */
  get delay() {
    if (this.stepDelay === null || this.pictureDelay === null) return null;
    return Math.max(0, this.stepDelay - this.pictureDelay);
  }

  /** Return the picture to show now, or null if it is the one that is shown; older ones go. */
  due(now, inStep) {
    const isHeld = inStep && this.stepDelay !== null;
    const until = isHeld ? Math.max(now - this.stepDelay, this.newestStep) + HALF_TICK : Infinity;
    let due = null;
    while (this.waiting.length && this.waiting[0].time <= until) due = this.waiting.shift();
    if (due === null || due.time <= this.shown) return null;
    this.shown = due.time;
    return due;
  }
}

function smooth(before, value) {
  if (before === null || Math.abs(value - before) > JUMP) return value;
  return before + SMOOTHING * (value - before);
}
