/** A picture of a mask in tiles of cells, like a map: sharp from the whole down to single pairs. */

import { TILE } from './constants';
import { ink, onTheme } from './page';

/** What is looked at: the pair in the upper left corner, and pixels of the screen for each token. */
interface View {
  top: number;
  left: number;
  scale: number;
}

type LoadTile = (level: number, row: number, column: number) => Promise<Uint8Array>;

const LARGEST_SCALE = 48;

export class MaskView {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  readonly #onMove: () => void;
  #tokens = 1;
  #load: LoadTile | undefined;
  #shares = new Map<string, Uint8Array>();
  #pictures = new Map<string, HTMLCanvasElement>();
  #waiting = new Set<string>();
  #view: View = { top: 0, left: 0, scale: 1 };
  #pair: readonly [number, number] = [0, 0];
  #isDue = false;
  /** Settles when every tile in view is there. */
  #whenWhole: PromiseWithResolvers<void> | undefined;

  constructor(canvas: HTMLCanvasElement, onMove: () => void) {
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d')!;
    this.#onMove = onMove;
    new ResizeObserver(() => this.#resize()).observe(canvas);
    onTheme(() => {
      this.#pictures.clear();
      this.draw();
    });
  }

  get view(): Readonly<View> & { readonly span: number } {
    return { ...this.#view, span: this.#canvas.width / this.#view.scale };
  }

  /** Another mask; resolves when all of it that is in view is drawn. */
  show(tokens: number, load: LoadTile): Promise<void> {
    const isSame = tokens === this.#tokens && this.#load !== undefined;
    this.#tokens = tokens;
    this.#load = load;
    this.#shares.clear();
    this.#pictures.clear();
    this.#waiting.clear();
    if (!isSame) this.whole();
    this.#whenWhole = Promise.withResolvers<void>();
    this.draw();
    return this.#whenWhole.promise;
  }

  whole(): void {
    this.#view = { top: 0, left: 0, scale: this.#canvas.width / this.#tokens };
    this.#changed();
  }

  /** Larger or smaller by a factor, around a point in pixels of the canvas. */
  zoom(factor: number, x = this.#canvas.width / 2, y = this.#canvas.height / 2): void {
    const least = this.#canvas.width / this.#tokens;
    const scale = Math.min(
      Math.max(least, LARGEST_SCALE * devicePixelRatio),
      Math.max(least, this.#view.scale * factor),
    );
    const { top, left, scale: before } = this.#view;
    this.#view = { top: top + y / before - y / scale, left: left + x / before - x / scale, scale };
    this.#changed();
  }

  /** To cells large enough to be counted, around the pair pointed at. */
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
    this.draw();
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

  #changed(): void {
    const most = Math.max(0, this.#tokens - this.#canvas.width / this.#view.scale);
    this.#view.top = Math.min(most, Math.max(0, this.#view.top));
    this.#view.left = Math.min(most, Math.max(0, this.#view.left));
    this.draw();
    this.#onMove();
  }

  #paint(): void {
    const { width } = this.#canvas;
    const { top, left, scale } = this.#view;
    const context = this.#context;
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, width, width);
    if (!this.#load) return;
    // Cells no smaller than a pixel.
    const level = Math.max(0, Math.ceil(Math.log2(1 / scale) - 1e-9));
    const side = TILE * 2 ** level;
    const last = (from: number) => Math.floor(Math.min(this.#tokens - 1, from + width / scale - 1e-9) / side);
    let isWhole = true;
    for (let row = Math.floor(top / side); row <= last(top); row++) {
      for (let column = Math.floor(left / side); column <= last(left); column++) {
        const picture = this.#picture(level, row, column);
        if (!picture) isWhole = false;
        const edge = (token: number, from: number) => Math.round((token - from) * scale);
        const [x, y] = [edge(column * side, left), edge(row * side, top)];
        const [right, bottom] = [edge((column + 1) * side, left), edge((row + 1) * side, top)];
        if (picture) context.drawImage(picture, x, y, right - x, bottom - y);
        else this.#coarser(level, row, column, [x, y, right - x, bottom - y]);
      }
    }
    this.#paintPair();
    if (isWhole) {
      this.#whenWhole?.resolve();
      this.#whenWhole = undefined;
    }
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
  }

  /** From a tile of larger cells that is there already, while the right one comes. */
  #coarser(level: number, row: number, column: number, box: readonly [number, number, number, number]): void {
    for (let up = 1; up <= 8; up++) {
      const share = TILE / 2 ** up;
      const [r, c] = [row >> up, column >> up];
      const picture = this.#pictures.get(`${level + up} ${r} ${c}`);
      if (!picture || share < 1) continue;
      this.#context.drawImage(picture, (column - (c << up)) * share, (row - (r << up)) * share, share, share, ...box);
      return;
    }
  }

  #picture(level: number, row: number, column: number): HTMLCanvasElement | undefined {
    const key = `${level} ${row} ${column}`;
    const known = this.#pictures.get(key);
    if (known) return known;
    const shares = this.#shares.get(key);
    if (!shares) {
      this.#request(key, level, row, column);
      return undefined;
    }
    const picture = document.createElement('canvas');
    picture.width = picture.height = TILE;
    const image = new ImageData(TILE, TILE);
    const pixels = new Uint32Array(image.data.buffer);
    const [red, green, blue] = ink('--family');
    // Few seen pairs must still show: ink grows with the root of the share.
    const inks = Uint32Array.from({ length: 256 }, (_, share) => {
      const opacity = share === 0 ? 0 : Math.round(40 + 215 * Math.sqrt(share / 255));
      return ((opacity << 24) | (blue << 16) | (green << 8) | red) >>> 0;
    });
    for (let cell = 0; cell < shares.length; cell++) pixels[cell] = inks[shares[cell]];
    picture.getContext('2d')!.putImageData(image, 0, 0);
    this.#pictures.set(key, picture);
    return picture;
  }

  #request(key: string, level: number, row: number, column: number): void {
    if (this.#waiting.has(key)) return;
    this.#waiting.add(key);
    const load = this.#load!;
    load(level, row, column).then(
      (shares) => {
        if (load !== this.#load) return;
        this.#waiting.delete(key);
        this.#shares.set(key, shares);
        this.draw();
      },
      (error) => this.#whenWhole?.reject(error),
    );
  }
}
