/** The picture of a method: which keys its mask shows to each query, or how much a query takes of each value. */
import { formatPercent, significant } from '../../src/text/format';
import { type Helper, latest } from './ask';
import { grouped, headOf, live, type MethodPage } from './live';
import { type Cells, MatrixView } from './matrix-view';
import { $, $$, onTheme } from './page';
import { canvasPng, saves } from './save';
import { inkOf, paintShares, paintWeights, type Scale, type ScaleName, scaleOf } from './scale';

/** Draws what the setting says; tells of another query. */
export function startPicture(
  { data, form }: MethodPage,
  { counter, weigher }: { readonly counter: Helper; readonly weigher: Helper },
  onQuery: () => void,
): () => Promise<void> {
  const canvas = $<HTMLCanvasElement>('#cells canvas');
  const field = (id: string) => $<HTMLInputElement>(`#${id}`);
  const [iField, jField, headField, viewField] = ['i', 'j', 'head', 'view'].map(field);
  const choice = document.querySelector<HTMLSelectElement>('#picture');
  const scaleChoice = document.querySelector<HTMLSelectElement>('#ink');
  const stop = $<HTMLButtonElement>('[data-cancel]', canvas.closest('figure')!);
  const isOfWeights = () => !data.masked || choice?.value === 'weights';
  const view = new MatrixView(canvas, sayEdges);
  let tokens = data.sizes.tokens.reduce((size, extent) => size * extent, 1);
  let pair: readonly [number, number] = [Number(iField.value), Number(jField.value)];
  /** The view that the address was last told. */
  let told = '';

  function sayEdges(): void {
    const { top, left, span } = view.view;
    const edge = (from: number) => [Math.floor(from), Math.min(tokens - 1, Math.ceil(from + span) - 1)];
    const [[firstRow, lastRow], [firstColumn, lastColumn]] = [edge(top), edge(left)];
    const edges = { top: firstRow, bottom: lastRow, left: firstColumn, right: lastColumn };
    for (const [name, value] of Object.entries(edges)) {
      const place = $(`[data-${name}]`);
      if (place.textContent !== grouped(value)) place.textContent = grouped(value);
    }
    const cells = String(Math.min(16, Math.max(2, lastColumn - firstColumn + 1)));
    const { style } = $('#field');
    if (style.getPropertyValue('--cells') !== cells) style.setProperty('--cells', cells);
    const seen = span >= tokens ? '' : [top, left, span].map((value) => Number(value.toFixed(2))).join(' ');
    if (seen === told) return;
    told = viewField.value = seen;
    form.remember();
  }

  const say = latest(async () => {
    try {
      const of = { setting: form.setting(), head: head(), i: pair[0], j: pair[1] };
      if (isOfWeights()) $('#said').textContent = `${await weigher.ask('weightInWords', of)}.`;
      else {
        const { sentence, keys } = await counter.ask('pairInWords', of);
        $('#said').textContent = `${sentence}; this query sees ${grouped(keys)} of ${grouped(tokens)} keys.`;
      }
    } catch {
      $('#said').textContent = '–';
    }
  });

  const head = () => headOf(headField, form.setting());

  function point(i: number, j: number): void {
    const inside = (at: number) => Math.min(tokens - 1, Math.max(0, Math.round(at) || 0));
    const moved = inside(i) !== pair[0];
    pair = [inside(i), inside(j)];
    [iField.value, jField.value] = pair.map(String);
    view.point(pair);
    say();
    form.remember();
    if (moved) onQuery();
  }
  for (const each of [iField, jField])
    each.addEventListener('input', () => point(Number(iField.value), Number(jField.value)));

  const at = ({ clientX, clientY }: { clientX: number; clientY: number }) => {
    const { left, top } = canvas.getBoundingClientRect();
    return [(clientX - left) * devicePixelRatio, (clientY - top) * devicePixelRatio] as const;
  };
  let held: readonly [number, number] | undefined;
  canvas.addEventListener('pointerdown', (event) => {
    canvas.setPointerCapture(event.pointerId);
    held = at(event);
    point(...view.pairAt(...held));
  });
  canvas.addEventListener('pointermove', (event) => {
    const now = at(event);
    if (!held) {
      if (event.pointerType === 'mouse') point(...view.pairAt(...now));
      return;
    }
    view.pan(now[0] - held[0], now[1] - held[1]);
    held = now;
  });
  for (const end of ['pointerup', 'pointercancel'] as const)
    canvas.addEventListener(end, () => {
      held = undefined;
    });
  canvas.addEventListener(
    'wheel',
    (event) => {
      // The page scrolls where there is nothing to enlarge or when nobody has pointed at the picture.
      if (!event.ctrlKey && document.activeElement !== canvas) return;
      event.preventDefault();
      view.zoom(2 ** (-event.deltaY / 200), ...at(event));
    },
    { passive: false },
  );
  canvas.addEventListener('dblclick', (event) => view.zoom(2, ...at(event)));
  canvas.addEventListener('keydown', (event) => {
    const step = event.shiftKey ? 16 : 1;
    const moves: Record<string, readonly [number, number]> = {
      ArrowUp: [-step, 0],
      ArrowDown: [step, 0],
      ArrowLeft: [0, -step],
      ArrowRight: [0, step],
    };
    if (event.key === '+' || event.key === '=') view.zoom(2);
    else if (event.key === '-') view.zoom(0.5);
    else if (moves[event.key]) point(pair[0] + moves[event.key][0], pair[1] + moves[event.key][1]);
    else return;
    event.preventDefault();
  });
  const zooms: Record<string, () => void> = {
    in: () => view.zoom(2),
    out: () => view.zoom(0.5),
    all: () => view.whole(),
    cells: () => view.cells(),
  };
  for (const button of $$('[data-zoom]')) button.addEventListener('click', zooms[button.dataset.zoom!]);

  /** As the address has it, once there is something to be looked at. */
  function restore(): void {
    if (viewField.value !== told) {
      told = viewField.value;
      const [top, left, span] = told.split(' ').map(Number);
      if (span > 0 && Number.isFinite(top + left + span)) view.look(top, left, span);
      else view.whole();
    }
    point(Number(iField.value), Number(jField.value));
  }

  /** What takes its time says how far it is, and can be called off. */
  function tell(box: HTMLElement, said: string): void {
    stop.hidden = false;
    $('[data-said]', box).textContent = `${said} …`;
  }

  async function showMask(box: HTMLElement, signal: AbortSignal): Promise<string> {
    const of = { setting: form.setting(), head: head() };
    const { name, tokens: found, pairs } = await counter.ask('maskInWords', of, { signal });
    tokens = found;
    /** The share that is counted of each tile that takes its time. */
    const shares = new Map<string, number>();
    const load = (level: number, row: number, column: number) => {
      const onProgress = (share: unknown) => {
        shares.set(`${level} ${row} ${column}`, share as number);
        const all = [...shares.values()].reduce((sum, each) => sum + each, 0) / shares.size;
        tell(box, `counting pairs, ${formatPercent(all)}`);
      };
      return counter.ask('maskTile', { ...of, level, row, column }, { signal, onProgress });
    };
    const paint = (cells: Cells, pixels: Uint32Array) => paintShares(cells, pixels);
    const whole = view.show({ tokens, paint, load });
    restore();
    await whole;
    canSave({ ...of, mask: name, pairs }, (share) => share / 255);
    return `${name}: ${grouped(pairs)} of ${grouped(tokens ** 2)} pairs seen (${formatPercent(pairs / tokens ** 2)}).`;
  }

  async function showWeights(box: HTMLElement, signal: AbortSignal): Promise<string> {
    const of = { setting: form.setting(), head: head() };
    const onProgress = (said: unknown) => tell(box, said as string);
    const found = await weigher.ask('weightsInWords', of, { signal, onProgress });
    tokens = found.tokens;
    const name = (scaleChoice?.value ?? 'log') as ScaleName;
    const scale = scaleOf(name, found);
    const paint = (cells: Cells, pixels: Uint32Array) => paintWeights(cells, scale, pixels);
    const relative = name === 'row';
    const load = (level: number, row: number, column: number) =>
      weigher.ask('weightsTile', { ...of, level, row, column, relative });
    const whole = view.show({ tokens, paint, load });
    repaint = () => paintLegend(scale, found.negative);
    repaint();
    restore();
    await whole;
    canSave({ ...of, relative, output: found.output }, (weight) => Number(weight.toPrecision(6)));
    const { output, error, scaled, nan } = found;
    const rows =
      nan.length === 0
        ? ''
        : ` ${grouped(nan.length)} queries, hatched, have weights that are no numbers (${nan.slice(0, 5).map(grouped).join(', ')}${nan.length > 5 ? ', …' : ''}).`;
    const exact = scaled ? `, each row up to a factor, since ${data.name} normalises it` : '';
    return `Computed by the library on the numbers that a run takes: each column is its output for a value of 1 on that key alone. Summed with these weights, the values of the sample give ${output === 'out' ? 'its output' : `its output ${output}`} to within ${significant(error)} of the largest${exact}.${rows}`;
  }

  let repaint = () => {};
  onTheme(() => repaint());

  function canSave(said: object, written: (cell: number) => number): void {
    saves($('[data-saves]', canvas.closest('figure')!), `${data.name}-${isOfWeights() ? 'weights' : 'mask'}`, {
      png: () => canvasPng(canvas, '--plate'),
      json: () => {
        const { rows, ...place } = view.drawn();
        return {
          ...said,
          ...place,
          cells: rows.map((row) => row.map((cell) => (cell === undefined ? null : written(cell)))),
        };
      },
    });
  }

  const show = latest(() =>
    live(data.masked ? 'mask' : 'weights', async (box) => {
      headField.max = String(form.setting().heads - 1);
      for (const each of $$('[data-weights]', box.parentElement!)) each.hidden = !isOfWeights();
      showing = new AbortController();
      const { signal } = showing;
      return (isOfWeights() ? showWeights(box, signal) : showMask(box, signal)).finally(() => {
        stop.hidden = true;
      });
    }).then(shown.resolve),
  );
  /** What is shown now; another setting calls it off. */
  let showing: AbortController | undefined;
  stop.addEventListener('click', () => {
    canvas.focus({ preventScroll: true });
    showing?.abort();
  });
  const shown = Promise.withResolvers<void>();
  for (const each of [headField, choice, scaleChoice]) each?.addEventListener('input', show);
  return () => {
    showing?.abort();
    show();
    return shown.promise;
  };
}

/** Ink against weight: those below 0 to the left. */
function paintLegend(scale: Scale, negative: boolean): void {
  const legend = $('#legend');
  const [none, all] = scale.ends;
  const said = {
    'left-end': negative ? `-${all}` : none,
    'right-end': all,
    middle: negative ? none : '',
    unit: scale.unit ?? '',
  };
  for (const [place, text] of Object.entries(said)) $(`[data-${place}]`, legend).textContent = text;
  const canvas = $<HTMLCanvasElement>('canvas', legend);
  canvas.width = 256;
  const context = canvas.getContext('2d')!;
  const image = context.createImageData(canvas.width, 1);
  const inked = inkOf();
  const pixels = new Uint32Array(image.data.buffer);
  for (let x = 0; x < pixels.length; x++) pixels[x] = inked(negative ? x / 127.5 - 1 : (x + 1) / 256);
  context.putImageData(image, 0, 0);
}
