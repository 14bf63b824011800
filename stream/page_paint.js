// What is drawn over a picture: heat, boxes, points and tags, as in annotated videos.

const DARK = "#101010";
const HEAT_OPACITY = 0.55;
const HEAT_FROM = 0.5; // of a label's peak: where its heat begins
const FONT = '600 12px system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif';
const TAG = 18; // CSS pixels high

let colours = {};

/** Take the instruments' colours, "#rrggbb" by label, the same as in annotated videos. */
export function useColours(given) {
  colours = given;
}

/** Return the colour of a label. */
export const colourOf = (label) => colours[label] ?? "#bbbbbb";

const rgb = (label) => [1, 3, 5].map((at) => parseInt(colourOf(label).slice(at, at + 2), 16));

function inkOn(label) {
  const [r, g, b] = rgb(label).map((value) => (value / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? DARK : "#ffffff";
}

/** Draw detections into the area {x, y, width, height} of a context, in CSS pixels. */
export function paint(context, area, detections, heat, view) {
  if (view.heat && heat) paintHeat(context, area, heat);
  const taken = [];
  for (const found of detections) {
    const colour = colourOf(found.label);
    const box = found.box && corners(area, found.box);
    const point = found.point && [area.x + found.point[0] * area.width, area.y + found.point[1] * area.height];
    if (view.boxes && box) {
      for (const [style, width] of [[DARK, 4], [colour, 2]]) {
        context.strokeStyle = style;
        context.lineWidth = width;
        context.strokeRect(box.x, box.y, box.width, box.height);
      }
    }
    if (view.points && point) {
      for (const [style, radius] of [[DARK, 6.5], ["#ffffff", 5.5], [colour, 3.5]]) {
        context.fillStyle = style;
        context.beginPath();
        context.arc(...point, radius, 0, 2 * Math.PI);
        context.fill();
      }
    }
    if ((view.boxes && box) || (view.points && point)) tag(context, area, found, box, point, taken);
  }
}

function corners(area, [x0, y0, x1, y1]) {
  // The line lies inside the picture, also where the box goes to its edge.
  const clip = (value, most) => Math.min(Math.max(value, 1), most - 1);
  const left = clip(x0 * area.width, area.width), right = clip(x1 * area.width, area.width);
  const top = clip(y0 * area.height, area.height), bottom = clip(y1 * area.height, area.height);
  return { x: area.x + left, y: area.y + top, width: right - left, height: bottom - top };
}

function tag(context, area, found, box, point, taken) {
  const text = `${found.label} ${found.score.toFixed(2)}`;
  context.font = FONT;
  const width = context.measureText(text).width + 12;
  let x = box ? box.x - 1 : point[0] - width / 2;
  let y = box ? box.y - TAG - 1 : point[1] - TAG - 9;
  if (y < area.y) y = box ? box.y + 2 : point[1] + 9;
  x = Math.min(Math.max(x, area.x), area.x + area.width - width);
  // None over another: down, until there is room.
  for (const other of taken) {
    if (x < other.x + other.width && other.x < x + width && Math.abs(y - other.y) < TAG) y = other.y + TAG + 1;
  }
  y = Math.min(y, area.y + area.height - TAG);
  taken.push({ x, y, width });
  context.fillStyle = DARK;
  context.beginPath();
  context.roundRect(x - 1, y - 1, width + 2, TAG + 2, 4);
  context.fill();
  context.fillStyle = colourOf(found.label);
  context.beginPath();
  context.roundRect(x, y, width, TAG, 3);
  context.fill();
  context.fillStyle = inkOn(found.label);
  context.textBaseline = "middle";
  context.fillText(text, x + 6, y + TAG / 2 + 0.5);
}

/** Return a Heat message as small canvases, one a label, to be stretched over the picture. */
export function readHeat({ shape: [rows, columns], maps }) {
  const size = rows * columns;
  return Object.entries(maps).flatMap(([label, text]) => {
    const cells = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const top = cells.length === size ? cells.reduce((a, b) => Math.max(a, b), 0) : 0;
    if (!top) return [];
    const colour = rgb(label);
    const gain = (1 + 255 / Math.max(...colour)) / 2; // it glows
    const image = new ImageData(columns, rows);
    cells.forEach((cell, i) => {
      const share = Math.max(0, (cell / top - HEAT_FROM) / (1 - HEAT_FROM));
      image.data.set([...colour.map((value) => value * gain), 255 * HEAT_OPACITY * share], 4 * i);
    });
    const canvas = new OffscreenCanvas(columns, rows);
    canvas.getContext("2d").putImageData(image, 0, 0);
    return [canvas];
  });
}

function paintHeat(context, area, heat) {
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  for (const canvas of heat) context.drawImage(canvas, area.x, area.y, area.width, area.height);
}
