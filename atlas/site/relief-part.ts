/** Tokens on their grid, seen from above or in relief: how high a token stands says what the query has of it. */
import { significant } from '../../src/text/format';
import { type Helper, latest } from './ask';
import { APART, LAYERS } from './constants';
import { count, grouped, headOf, live, type MethodPage, part } from './live';
import { $, $$, type Colour, ink, onTheme } from './page';
import { canvasPng, saves } from './save';

/** From where one looks, in degrees: around the grid, and above its plane. */
interface Turn {
  readonly around: number;
  readonly above: number;
}

interface Grid {
  readonly rows: number;
  readonly columns: number;
  /** Tokens along a side of a block that is drawn as one. */
  readonly block: number;
  /** Of each block from -1 to 1, row by row; NaN for what is no number. */
  readonly heights: Float32Array;
  /** The block of the query. */
  readonly query: number;
}

interface Face {
  readonly points: readonly (readonly [number, number])[];
  readonly colour: string;
  readonly block: number;
}

const RELIEF: Turn = { around: 30, above: 38 };
const FLAT: Turn = { around: 0, above: 90 };
/** Blocks along a side at most, height of a token as a share of the longer side, height of the picture as one of its width. */
const MOST = 64;
const HEIGHT = 0.32;
const ASPECT = 0.66;
/** Width of a character of the names, about. */
const CHARACTER = 7;

export function startRelief(
  { data, form }: MethodPage,
  helpers: Readonly<Record<'counter' | 'weigher', Helper>>,
  query: () => number,
): () => void {
  const box = part('relief');
  if (!box) return () => undefined;
  const canvas = $<HTMLCanvasElement>('canvas', box);
  const [turnField, heightField, headField] = ['turn', 'height', 'head'].map((id) => $<HTMLInputElement>(`#${id}`));
  const pointed = $('[data-pointed]', box);
  let grid: Grid | undefined;
  let faces: readonly Face[] = [];
  let describe: (token: number) => string = () => '';
  let isDue = false;

  function turn(): Turn {
    const [around, above] = turnField.value.split(' ').map(Number);
    return turnField.value !== '' && Number.isFinite(around + above)
      ? { around, above: Math.min(90, Math.max(10, above)) }
      : RELIEF;
  }
  function turnTo({ around, above }: Turn): void {
    const [a, b] = [Math.round(((around % 360) + 360) % 360), Math.round(Math.min(90, Math.max(10, above)))];
    turnField.value = `${a} ${b}`;
    form.remember();
    paintSoon();
  }

  function paintSoon(): void {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      paint();
    });
  }
  function paint(): void {
    if (!grid) return;
    const width = canvas.clientWidth;
    [canvas.width, canvas.height] = [width, width * ASPECT].map((side) => Math.round(side * devicePixelRatio));
    faces = facesOf(grid, turn(), width);
    const context = canvas.getContext('2d')!;
    context.scale(devicePixelRatio, devicePixelRatio);
    context.lineJoin = 'round';
    context.lineWidth = 0.6;
    for (const { points, colour } of faces) {
      context.fillStyle = context.strokeStyle = colour;
      context.beginPath();
      for (const [x, y] of points) context.lineTo(x, y);
      context.closePath();
      context.fill();
      context.stroke();
    }
    context.fillStyle = `rgb(${ink('--quiet').join(' ')})`;
    context.font = `12.5px ${getComputedStyle(canvas).fontFamily}`;
    for (const { text, x, y, anchor } of namesOf(grid, turn(), width)) {
      context.textAlign = anchor as CanvasTextAlign;
      context.fillText(text, x, y);
    }
  }
  onTheme(paintSoon);
  new ResizeObserver(paintSoon).observe(canvas);

  /** The token of the face in front at a point. */
  function tokenAt({ offsetX, offsetY }: PointerEvent): number | undefined {
    if (!grid) return undefined;
    const face = faces.findLast(({ points }) => contains(points, offsetX, offsetY));
    if (!face) return undefined;
    const across = Math.ceil(grid.columns / grid.block);
    const [row, column] = [Math.floor(face.block / across), face.block % across].map((at) => at * grid!.block);
    return row * grid.columns + column;
  }
  let held: { readonly x: number; readonly y: number; readonly from: Turn; moved: boolean } | undefined;
  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId);
    held = { x: event.offsetX, y: event.offsetY, from: turn(), moved: false };
  });
  canvas.addEventListener('pointermove', (event) => {
    if (held) {
      const [dx, dy] = [event.offsetX - held.x, event.offsetY - held.y];
      held.moved ||= Math.hypot(dx, dy) > 4;
      if (held.moved) turnTo({ around: held.from.around - dx / 2, above: held.from.above + dy / 2 });
      return;
    }
    const token = tokenAt(event);
    pointed.textContent = token === undefined ? '' : describe(token);
  });
  canvas.addEventListener('pointerup', (event) => {
    const token = held?.moved ? undefined : tokenAt(event);
    held = undefined;
    if (token === undefined) return;
    const field = $<HTMLInputElement>('#i');
    field.value = String(token);
    field.dispatchEvent(new Event('input', { bubbles: true }));
  });
  canvas.addEventListener('pointercancel', () => {
    held = undefined;
  });
  canvas.addEventListener('keydown', (event) => {
    const { around, above } = turn();
    const turns: Record<string, Turn> = {
      ArrowLeft: { around: around + 10, above },
      ArrowRight: { around: around - 10, above },
      ArrowUp: { around, above: above + 10 },
      ArrowDown: { around, above: above - 10 },
    };
    if (!turns[event.key]) return;
    turnTo(turns[event.key]);
    event.preventDefault();
  });
  for (const button of $$('[data-turn]', box))
    button.addEventListener('click', () => turnTo(button.dataset.turn === 'flat' ? FLAT : RELIEF));

  const update = latest(
    () =>
      live('relief', async () => {
        const setting = form.setting();
        const [rows, columns] = setting.tokens;
        const [from, tokens] = [Math.min(query(), count(setting) - 1), count(setting)];
        const place = (token: number) =>
          `row ${grouped(Math.floor(token / columns))}, column ${grouped(token % columns)}`;
        const found = await (heightField.value === 'weights' ? byWeights() : byLayers());
        const block = Math.ceil(Math.max(rows, columns) / MOST);
        const { heights } = found;
        grid = { rows, columns, block, heights: blocks(heights, columns, block), query: blockAt(from, columns, block) };
        describe = (token) => `${place(token)}: ${found.describe(token)}`;
        paint();
        saves($('[data-saves]', box), `${data.name}-grid`, {
          svg: () => svgOf(canvas.clientWidth),
          png: () => canvasPng(canvas),
          json: () => ({ setting, query: from, height: heightField.value, rows, columns, values: [...found.values] }),
        });
        return `From query ${grouped(from)}, ${place(from)}: ${found.said}.${block > 1 ? ` A block is the highest of ${block} × ${block} tokens.` : ''}`;

        /** What is seen stands highest, what takes more layers is lower. */
        async function byLayers() {
          const { counts, layers } = await helpers.counter.ask('reachThrough', {
            setting,
            query: from,
            layers: LAYERS,
          });
          const most = counts.length;
          const of = (n: number, at: number) => `${grouped(n)} in ${at + 1}`;
          return {
            values: layers,
            heights: Float32Array.from(layers, (layer) => (layer === 0 ? 0 : (most + 1 - layer) / most)),
            describe: (token: number) =>
              layers[token] === 0
                ? 'not reached'
                : layers[token] === 1
                  ? 'seen'
                  : `reached through ${layers[token]} layers`,
            said: `${counts.map(of).join(', ')} ${most === 1 ? 'layer' : 'layers'}, of ${grouped(tokens)} tokens; the fewer layers, the higher`,
          };
        }

        async function byWeights() {
          const head = headOf(headField, setting);
          const values = await helpers.weigher.ask('weightsOfQuery', { setting, head, query: from });
          const largest = values.reduce((best, value, at) => (Math.abs(value) > Math.abs(values[best]) ? at : best), 0);
          const unit = Math.abs(values[largest]) || 1;
          return {
            values,
            heights: values.map((value) => value / unit),
            describe: (token: number) => `weight ${significant(values[token])}`,
            said: `its weights on values, as heights; the largest, ${significant(values[largest])}, is at ${place(largest)}`,
          };
        }
      }),
    APART,
  );
  heightField.addEventListener('input', update);
  headField.addEventListener('input', update);
  return update;

  function svgOf(width: number): string {
    const shapes = faces.map(
      ({ points, colour }) =>
        `<polygon points="${points.map((point) => point.map((at) => at.toFixed(1)).join(',')).join(' ')}" fill="${colour}" stroke="${colour}" stroke-width="0.6" stroke-linejoin="round"/>`,
    );
    const names = namesOf(grid!, turn(), width).map(
      ({ text, x, y, anchor }) =>
        `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}">${text}</text>`,
    );
    const colour = (name: string) => `rgb(${ink(name).join(' ')})`;
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${width * ASPECT}" style="background:${colour('--paper')}" fill="${colour('--quiet')}" font-family="sans-serif" font-size="12.5">${shapes.join('')}${names.join('')}</svg>`;
  }
}

/** The block that a token is in. */
const blockAt = (token: number, columns: number, block: number) =>
  Math.floor(Math.floor(token / columns) / block) * Math.ceil(columns / block) + Math.floor((token % columns) / block);

/** Of each block the height of the largest magnitude. */
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
  return { down, across, sin, cos, near, place };
}

/** Of each block the top and the two sides that are seen, the farthest first. */
function facesOf(grid: Grid, turn: Turn, width: number): Face[] {
  const { down, across, sin, cos, near, place } = projection(grid, turn, width);
  const [plate, above, below, hand, ground] = ['--plate', '--family', '--opposite', '--hand', '--ink'].map(ink);
  const middle = (block: number) =>
    [(block % across) + 0.5 - across / 2, Math.floor(block / across) + 0.5 - down / 2] as const;
  const order = [...grid.heights.keys()].sort((a, b) => near(...middle(a)) - near(...middle(b)));
  return order.flatMap((block) => {
    const height = grid.heights[block];
    const z = Number.isNaN(height) ? 0 : Math.abs(height);
    const colour =
      block === grid.query
        ? hand
        : Number.isNaN(height)
          ? ground
          : mixed(plate, height < 0 ? below : above, z === 0 ? 0 : 0.2 + 0.8 * z);
    const [x, y] = middle(block);
    const [w, e, n, s] = [x - 0.47, x + 0.47, y - 0.47, y + 0.47];
    const side = (from: readonly [number, number], to: readonly [number, number], shade: number): Face => ({
      points: [place(...from, 0), place(...to, 0), place(...to, z), place(...from, z)],
      colour: css(mixed(colour, ink('--shade'), shade)),
      block,
    });
    const sides =
      z === 0 || turn.above === 90
        ? []
        : [
            ...(Math.abs(sin) > 1e-9 ? [sin > 0 ? side([e, n], [e, s], 0.4) : side([w, n], [w, s], 0.4)] : []),
            ...(Math.abs(cos) > 1e-9 ? [cos > 0 ? side([w, s], [e, s], 0.22) : side([w, n], [e, n], 0.22)] : []),
          ];
    const top = {
      points: [place(w, n, z), place(e, n, z), place(e, s, z), place(w, s, z)],
      colour: css(colour),
      block,
    };
    return [...sides, top];
  });
}

/** What stands at the ends of the axes: where rows and columns begin and where they lead. */
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
