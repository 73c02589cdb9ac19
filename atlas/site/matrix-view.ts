/** A picture of a matrix of queries and keys in tiles of cells, like a map: sharp from the whole down to single pairs. */

import { TILE } from './constants';
import { ink, onTheme } from './page';

/** The view: the pair in the upper left corner, and pixels of the screen for each token. */
interface View {
  top: number;
  left: number;
  scale: number;
}

type Cells = Uint8Array | Float32Array;

export interface Matrix {
  readonly tokens: number;
  /** The cells of a tile, each of 2^level x 2^level pairs, row by row. */
  load(level: number, row: number, column: number): Promise<Cells>;
  /** Gives each cell its colour: opacity, blue, green and red, from the highest byte to the lowest. */
  paint(cells: Cells, pixels: Uint32Array): void;
}

interface Tile {
  readonly cells: Cells;
  picture?: HTMLCanvasElement | undefined;
}

const LARGEST_SCALE = 48;
/** Tiles requested at a time, so that those no longer in view do not delay others, and tiles that are kept. */
const MOST_WAITING = 4;
const MOST_KEPT = 192;

export class MatrixView {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  readonly #onMove: () => void;
  #matrix: Matrix | undefined;
  #tiles = new Map<string, Tile>();
  /** Tiles of the previous matrix, shown until the new ones are there. */
  #before = new Map<string, Tile>();
  #waiting = new Set<string>();
  #view: View = { top: 0, left: 0, scale: 1 };
  #pair: readonly [number, number] = [0, 0];
  /** The tokens on the way from the query to the key, both included, if it takes jumps. */
  #way: readonly number[] = [];
  #isDue = false;
  /** Settles when every tile in view is there. */
  #whenWhole: PromiseWithResolvers<void> | undefined;

  constructor(canvas: HTMLCanvasElement, onMove: () => void) {
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d')!;
    this.#onMove = onMove;
    new ResizeObserver(() => this.#resize()).observe(canvas);
    onTheme(() => {
      for (const tile of this.#tiles.values()) tile.picture = undefined;
      this.draw();
    });
  }

  get #tokens(): number {
    return this.#matrix?.tokens ?? 1;
  }

  get view(): Readonly<View> & { readonly span: number } {
    return { ...this.#view, span: this.#canvas.width / this.#view.scale };
  }

  /** Another matrix; resolves when all of it that is in view is drawn. */
  show(matrix: Matrix): Promise<void> {
    const isSame = matrix.tokens === this.#matrix?.tokens;
    this.#matrix = matrix;
    this.#before = isSame ? this.#tiles : new Map();
    this.#tiles = new Map();
    this.#waiting.clear();
    if (!isSame) this.whole();
    this.#whenWhole?.resolve();
    this.#whenWhole = Promise.withResolvers<void>();
    this.draw();
    return this.#whenWhole.promise;
  }

  whole(): void {
    this.look(0, 0, this.#tokens);
  }

  /** So many tokens from this pair on. */
  look(top: number, left: number, span: number): void {
    this.#view = { top, left, scale: this.#canvas.width / span };
    this.#changed();
  }

  /** Larger or smaller by a factor, around a point in pixels of the canvas. */
  zoom(factor: number, x = this.#canvas.width / 2, y = this.#canvas.height / 2): void {
    const { top, left, scale: before } = this.#view;
    const scale = this.#within(before * factor);
    this.#view = { top: top + y / before - y / scale, left: left + x / before - x / scale, scale };
    this.#changed();
  }

  /** Larger or smaller around the current pair, which stays where it is if it is in view. */
  zoomAtPair(factor: number): void {
    const { top, left, scale } = this.#view;
    const [y, x] = [(this.#pair[0] + 0.5 - top) * scale, (this.#pair[1] + 0.5 - left) * scale];
    const isInView = [x, y].every((at) => at >= 0 && at <= this.#canvas.width);
    if (isInView) this.zoom(factor, x, y);
    else this.zoom(factor);
  }

  /** Zooms until cells can be counted, around the current pair. */
  cells(): void {
    const [i, j] = this.#pair;
    const scale = Math.max(this.#canvas.width / this.#tokens, 16 * devicePixelRatio);
    const half = this.#canvas.width / scale / 2;
    this.#view = { top: i - half, left: j - half, scale };
    this.#changed();
  }

  pan(dx: number, dy: number): void {
    this.#view.top -= dy / this.#view.scale;
    this.#view.left -= dx / this.#view.scale;
    this.#changed();
  }

  /** The pair at a point in pixels of the canvas. */
  pairAt(x: number, y: number): [number, number] {
    const { top, left, scale } = this.#view;
    const token = (at: number) => Math.min(this.#tokens - 1, Math.max(0, Math.floor(at)));
    return [token(top + y / scale), token(left + x / scale)];
  }

  /** Points at a pair. */
  point(pair: readonly [number, number]): void {
    this.#pair = pair;
    this.#way = [];
    this.draw();
  }

  /** The way from the query of the pair to its key. */
  lead(way: readonly number[]): void {
    this.#way = way;
    this.draw();
  }

  /** The picture: cells of `pairs` pairs along a side, in rows, from query `top` and key `left` on. */
  drawn() {
    const { top, left, span } = this.view;
    const level = this.#level();
    const pairs = 2 ** level;
    const cell = (token: number) => Math.floor(token / pairs);
    const end = (from: number) => Math.min(cell(this.#tokens - 1), cell(from + span - 1e-9)) + 1;
    const rows = Array.from({ length: end(top) - cell(top) }, (_, at) => at + cell(top)).map((y) =>
      Array.from({ length: end(left) - cell(left) }, (_, at) => {
        const x = at + cell(left);
        const tile = this.#tiles.get(`${level} ${Math.floor(y / TILE)} ${Math.floor(x / TILE)}`);
        return tile?.cells[(y % TILE) * TILE + (x % TILE)];
      }),
    );
    return { side: pairs, query: cell(top) * pairs, key: cell(left) * pairs, rows };
  }

  draw(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#paint();
    });
  }

  #resize(): void {
    const size = Math.round(this.#canvas.clientWidth * devicePixelRatio);
    if (size === 0 || size === this.#canvas.width) return;
    const grown = size / this.#canvas.width;
    this.#canvas.width = this.#canvas.height = size;
    this.#view.scale *= grown;
    this.#changed();
  }

  /** No smaller than the whole, and no larger than large cells. */
  #within(scale: number): number {
    const least = this.#canvas.width / this.#tokens;
    return Math.min(Math.max(least, LARGEST_SCALE * devicePixelRatio), Math.max(least, scale));
  }

  #changed(): void {
    this.#view.scale = this.#within(this.#view.scale);
    const most = Math.max(0, this.#tokens - this.#canvas.width / this.#view.scale);
    this.#view.top = Math.min(most, Math.max(0, this.#view.top));
    this.#view.left = Math.min(most, Math.max(0, this.#view.left));
    this.draw();
  }

  /** Cells no smaller than a pixel. */
  #level(): number {
    return Math.max(0, Math.ceil(Math.log2(1 / this.#view.scale) - 1e-9));
  }

  #paint(): void {
    const { width } = this.#canvas;
    const { top, left, scale } = this.#view;
    const context = this.#context;
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, width, width);
    if (!this.#matrix) return;
    const level = this.#level();
    const side = TILE * 2 ** level;
    const last = (from: number) => Math.floor(Math.min(this.#tokens - 1, from + width / scale - 1e-9) / side);
    let isWhole = true;
    for (let row = Math.floor(top / side); row <= last(top); row++) {
      for (let column = Math.floor(left / side); column <= last(left); column++) {
        const edge = (token: number, from: number) => Math.round((token - from) * scale);
        const [x, y] = [edge(column * side, left), edge(row * side, top)];
        const box = [x, y, edge((column + 1) * side, left) - x, edge((row + 1) * side, top) - y] as const;
        const key = `${level} ${row} ${column}`;
        const tile = this.#tiles.get(key);
        if (tile) {
          // Those in view are the last to be forgotten.
          this.#tiles.delete(key);
          this.#tiles.set(key, tile);
        } else {
          isWhole = false;
          this.#request(key, level, row, column);
        }
        const shown = tile ?? this.#before.get(key);
        if (shown) context.drawImage(this.#picture(shown), ...box);
        else this.#coarser(level, row, column, box);
      }
    }
    this.#paintPair();
    this.#onMove();
    if (!isWhole) return;
    this.#before.clear();
    this.#whenWhole?.resolve();
    this.#whenWhole = undefined;
  }

  #paintPair(): void {
    const { top, left, scale } = this.#view;
    const [i, j] = this.#pair;
    const context = this.#context;
    const [x, y, size] = [(j - left) * scale, (i - top) * scale, Math.max(scale, 2)];
    context.strokeStyle = context.fillStyle = `rgb(${ink('--hand').join(' ')})`;
    context.lineWidth = devicePixelRatio;
    context.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
    context.beginPath();
    context.moveTo(0, y + scale / 2);
    context.lineTo(x, y + scale / 2);
    context.moveTo(x + scale / 2, 0);
    context.lineTo(x + scale / 2, y);
    context.stroke();
    context.setLineDash([]);
    context.lineWidth = 2 * devicePixelRatio;
    context.strokeRect(x - 1, y - 1, size + 2, size + 2);
    if (this.#way.length > 2) this.#paintWay();
  }

  /** A cobweb: across to a cell that is seen, along its column to the diagonal, across again, as information travels. */
  #paintWay(): void {
    const { top, left, scale } = this.#view;
    const context = this.#context;
    const at = (token: number, from: number) => (token + 0.5 - from) * scale;
    const line = () => {
      context.beginPath();
      context.moveTo(at(this.#way[0], left), at(this.#way[0], top));
      for (const [jump, token] of this.#way.slice(1).entries()) {
        context.lineTo(at(token, left), at(this.#way[jump], top));
        if (jump < this.#way.length - 2) context.lineTo(at(token, left), at(token, top));
      }
      context.stroke();
    };
    const [hand, paper] = ['--hand', '--paper'].map((name) => `rgb(${ink(name).join(' ')})`);
    context.lineJoin = 'round';
    context.strokeStyle = paper;
    context.lineWidth = 5 * devicePixelRatio;
    line();
    context.strokeStyle = hand;
    context.lineWidth = 2 * devicePixelRatio;
    line();
    for (const [jump, token] of this.#way.slice(1).entries()) {
      context.beginPath();
      context.arc(at(token, left), at(this.#way[jump], top), 4.5 * devicePixelRatio, 0, 2 * Math.PI);
      context.fillStyle = hand;
      context.strokeStyle = paper;
      context.lineWidth = 1.5 * devicePixelRatio;
      context.fill();
      context.stroke();
    }
  }

  /** From a tile of larger cells that is there already, while the right one comes. */
  #coarser(level: number, row: number, column: number, box: readonly [number, number, number, number]): void {
    for (let up = 1; up <= 8; up++) {
      const share = TILE / 2 ** up;
      const [r, c] = [row >> up, column >> up];
      const tile = this.#tiles.get(`${level + up} ${r} ${c}`);
      if (!tile) continue;
      const [x, y] = [(column - (c << up)) * share, (row - (r << up)) * share];
      this.#context.drawImage(this.#picture(tile), x, y, share, share, ...box);
      return;
    }
  }

  #picture(tile: Tile): HTMLCanvasElement {
    if (tile.picture) return tile.picture;
    const picture = document.createElement('canvas');
    picture.width = picture.height = TILE;
    const image = new ImageData(TILE, TILE);
    this.#matrix!.paint(tile.cells, new Uint32Array(image.data.buffer));
    picture.getContext('2d')!.putImageData(image, 0, 0);
    tile.picture = picture;
    return picture;
  }

  #request(key: string, level: number, row: number, column: number): void {
    if (this.#waiting.has(key) || this.#waiting.size >= MOST_WAITING) return;
    this.#waiting.add(key);
    const matrix = this.#matrix!;
    matrix.load(level, row, column).then(
      (cells) => {
        if (matrix !== this.#matrix) return;
        this.#waiting.delete(key);
        this.#tiles.set(key, { cells });
        if (this.#tiles.size > MOST_KEPT) this.#tiles.delete(this.#tiles.keys().next().value!);
        this.draw();
      },
      (error) => this.#whenWhole?.reject(error),
    );
  }
}
