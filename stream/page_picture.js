// The live picture of a source on a canvas, with what is detected drawn over it.

import { soon } from "./page_frame.js";
import { paint, readHeat } from "./page_paint.js";
import { settings } from "./page_settings.js";
import { PictureQueue } from "./page_sync.js";

const KEPT_HEAT = 6;

export class PictureView {
  /** `source` is a `Source`; `canvas` where it is shown. */
  constructor(source, canvas) {
    this.source = source;
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.queue = new PictureQueue();
    this.bitmap = null;
    this.time = null; // media time of the bitmap
    this.next = null; // picture to decode once the one before is done
    this.isDecoding = false;
    this.isVisible = false;
    this.heat = [];
    this.drawnStep = null;
    this.draw = this.draw.bind(this);
    this.redraw = () => this.isVisible && soon(this.draw);
  }

  /** Take a picture in. */
  addPicture(header, blob) {
    const now = performance.now() / 1000;
    this.queue.add({ time: header.time, blob }, now);
    this.show(this.queue.due(now, settings.inStep));
  }

  /** Note that the source has a new step: what belongs to it is shown. */
  addStep(step) {
    const now = performance.now() / 1000;
    this.queue.step(step.time, now);
    const due = this.queue.due(now, settings.inStep);
    if (due) this.show(due);
    else this.redraw();
  }

  /** Take a heat message in. */
  addHeat(heat) {
    this.heat.push({ time: heat.time, maps: readHeat(heat) });
    if (this.heat.length > KEPT_HEAT) this.heat.shift();
    this.redraw();
  }

  /** Say whether anybody can see it; what nobody sees is not decoded, nor drawn. */
  see(isVisible) {
    this.isVisible = isVisible;
    if (!isVisible) this.queue.clear();
    this.redraw();
  }

  /** Show that no picture comes any more. */
  blank() {
    this.bitmap?.close();
    this.bitmap = this.time = null;
    this.heat = [];
    this.queue.clear();
    this.redraw();
  }

  async show(picture) {
    if (!picture || !this.isVisible) return;
    this.next = picture;
    if (this.isDecoding) return;
    this.isDecoding = true;
    while (this.next) {
      const { blob, time } = this.next;
      this.next = null;
      try {
        const bitmap = await createImageBitmap(blob);
        this.bitmap?.close();
        this.bitmap = bitmap;
        this.time = time;
        this.redraw();
      } catch {
        continue; // a broken picture: the one before stays
      }
    }
    this.isDecoding = false;
  }

  /** Return the step that belongs to the picture, or null. */
  get step() {
    const { newest } = this.source;
    if (this.time === null || !newest) return newest;
    if (settings.inStep) return this.source.stepAt(this.time);
    return Math.abs(this.time - newest.time) < 4 ? newest : null;
  }

  draw() {
    const { canvas, context } = this;
    const ratio = Math.min(devicePixelRatio, 2);
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width) return;
    const across = Math.round(width * ratio), down = Math.round(height * ratio);
    if (canvas.width !== across || canvas.height !== down) {
      canvas.width = across;
      canvas.height = down;
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#0a0c0f";
    context.fillRect(0, 0, width, height);
    const area = this.area(width, height);
    if (this.bitmap) {
      context.imageSmoothingQuality = "high";
      context.drawImage(this.bitmap, area.x, area.y, area.width, area.height);
    }
    const step = this.step;
    const heat = step && this.heat.findLast((one) => Math.abs(one.time - step.time) < 0.01)?.maps;
    paint(context, area, step?.detections ?? [], heat, settings);
    this.tell(step);
  }

  area(width, height) {
    if (!this.bitmap) return { x: 0, y: 0, width, height };
    const scale = Math.min(width / this.bitmap.width, height / this.bitmap.height);
    const across = this.bitmap.width * scale, down = this.bitmap.height * scale;
    return { x: (width - across) / 2, y: (height - down) / 2, width: across, height: down };
  }

  /** Tell the page when a step is first on the screen. */
  tell(step) {
    if (!step || step === this.drawnStep) return;
    this.drawnStep = step;
    if (step !== this.source.newest) return;
    const published = step.captured + step.latency_ms / 1000;
    const age = performance.timeOrigin + performance.now() - 1000 * published;
    const detail = { source: step.source, time: step.time, picture: this.time, published, age };
    this.canvas.dispatchEvent(new CustomEvent("drawn", { bubbles: true, detail }));
  }
}
