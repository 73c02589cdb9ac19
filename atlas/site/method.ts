/** The page of a method: one setting, and parts that follow it. */

import { formatPercent, formatRatio } from '../../src/text/format';
import type { PageData } from '../build/method-page';
import { Helper, latest } from './ask';
import { LENGTHS } from './constants';
import { live, part, sentence } from './live';
import { MaskView } from './mask-view';
import { $, $$, ink, onTheme } from './page';
import { startRun } from './run-part';
import { canvasPng, saves, svgPng, svgText } from './save';
import { SettingForm } from './setting-form';
import type { Setting } from './tasks/setting';

const data = JSON.parse($('#method').textContent!) as PageData;
/** One helper draws and counts, the other runs, so that a long run holds up no picture. */
const [counter, runner] = [new Helper(), new Helper()];
const LAYERS = 8;

const form = new SettingForm(data, changed);
const count = (setting: Setting) => setting.tokens.reduce((size, extent) => size * extent, 1);
const grouped = (n: number) => n.toLocaleString('en');

// ---- Code

function writeCode(): void {
  void live('code', async (box) => {
    const { method, tokens, heads, dimension, params } = form.setting();
    const given =
      Object.keys(params).length > 0
        ? JSON.stringify(params)
            .replace(/"(\w+)":/g, ' $1: ')
            .replaceAll(',', ', ')
            .replace(/}$/, ' }')
            .replaceAll(/, {2}/g, ', ')
        : '{}';
    const needsMore = $('#method').dataset.layer !== undefined;
    const shape = `[1, ${tokens.join(', ')}, ${heads}, ${dimension}]`;
    $('[data-code]', box).textContent = needsMore
      ? layerCode(method, shape, tokens[0], heads, dimension, given)
      : plainCode(method, shape, given);
    const command = box.querySelector('[data-command]');
    const sizes = data.spatial ? `--grid ${tokens.join('x')}` : `--size ${tokens[0]}`;
    if (command)
      command.textContent = `npx saccade mask ${method} ${sizes} --heads ${heads} --params '${JSON.stringify(params)}'`;
    return undefined;
  });
}

const plainCode = (
  method: string,
  shape: string,
  params: string,
) => `import { createRuntime, findMethod } from 'saccade';

const runtime = await createRuntime();
const [${data.given.join(', ')}] = [${data.given.map((_, at) => at + 1).join(', ')}].map((seed) => runtime.random(${shape}, { seed }));
const method = findMethod('${method}');
const { out } = method.forward({ ${data.given.join(', ')} }, method.parse(${params}));
console.log(out.shape, await out.read());
runtime.dispose();`;

const layerCode = (
  method: string,
  shape: string,
  n: number,
  heads: number,
  d: number,
  params: string,
) => `import { createRuntime, findMethod } from 'saccade';
import { initial } from 'saccade/nn';

const runtime = await createRuntime();
const method = findMethod('${method}');
const params = method.parse(${params});
const [q, k, v] = [1, 2, 3].map((seed) => runtime.random(${shape}, { seed }));
// What a model's layer computes beside q, k and v, with the weights that training starts from.
const layer = method.layer({ width: ${heads * d}, heads: ${heads}, keyHeads: ${heads}, d: ${d}, e: ${d}, layer: 0, layers: 1 }, params);
const x = runtime.random([1, ${n}, ${heads * d}], { seed: 9 });
const { out } = method.forward({ q, k, v, ...layer.inputs(x, { q, k, v }, initial(layer, runtime)) }, params);
console.log(out.shape, await out.read());
runtime.dispose();`;

for (const button of $$('[data-copy]')) {
  button.addEventListener('click', async () => {
    const text = $('code', button.parentElement!).textContent!;
    button.textContent = await navigator.clipboard.writeText(text).then(
      () => 'copied',
      () => 'not allowed',
    );
    setTimeout(() => {
      button.textContent = 'copy';
    }, 2000);
  });
}

// ---- Cost

/** Plots come with the first of them. */
const plots = () => import('./plots');
let showPicture: () => void = () => undefined;
const shown = data.masked
  ? new Promise<void>((resolve) => {
      showPicture = resolve;
    })
  : Promise.resolve();

const countCost = latest(() =>
  live('cost', async (box) => {
    const setting = form.setting();
    const metric = $<HTMLSelectElement>('[data-metric]', box).value as 'flops' | 'bytes' | 'state';
    const beside = $<HTMLSelectElement>('[data-beside]', box).value;
    const sample = (method: string): Setting => ({ ...setting, method, params: {} });
    const settings = [
      sample('attention'),
      ...(beside ? [sample(beside)] : []),
      ...(data.name === 'attention' ? [] : [setting]),
    ];
    if (data.name === 'attention') settings.splice(0, 1, setting);
    const [lines, { costPlot, written }] = await Promise.all([counter.ask('costSeries', { settings }), plots()]);
    const drawing = () =>
      costPlot($('[data-plot]', box).clientWidth || 320, {
        lengths: LENGTHS,
        lines,
        metric,
        own: data.name,
        now: count(setting),
      });
    draw(box, `${data.name}-cost`, drawing, { setting, lengths: LENGTHS, lines });
    const own = lines.find(({ method }) => method === data.name)!;
    const near = LENGTHS.reduce((best, n, at) => (n <= count(setting) && own.costs[at] ? at : best), 0);
    const [mine, exact] = [own, lines.find(({ method }) => method === 'attention')!].map(
      ({ costs }) => costs[near]?.[metric],
    );
    if (mine === undefined || exact === undefined) return 'The setting fits none of the lengths shown.';
    return `At ${grouped(LENGTHS[near] as number)} tokens ${written(metric, mine)}${data.name === 'attention' ? '' : besideExact(mine, exact)}.`;
  }),
);
function besideExact(mine: number, exact: number): string {
  if (exact === 0) return ', of which exact attention has none';
  if (mine > 0.95 * exact && mine < 1.05 * exact) return ', about as much as exact attention';
  return mine < exact
    ? `, ${formatRatio(exact / mine)} less than exact attention`
    : `, ${formatRatio(mine / exact)} as much as exact attention`;
}
for (const choice of $$('[data-metric], [data-beside]')) choice.addEventListener('change', countCost);

/** Puts a drawing into a part, anew in another theme or width, and lets it be saved. */
function draw(box: HTMLElement, name: string, drawing: () => SVGSVGElement, json: object): void {
  const place = $('[data-plot]', box);
  place.replaceChildren(drawing());
  const svg = () => $<SVGSVGElement>('svg', place);
  saves($('[data-saves]', box), name, { svg: () => svgText(svg()), png: () => svgPng(svg()), json: () => json });
  redraw.set(box, () => place.replaceChildren(drawing()));
}
const redraw = new Map<HTMLElement, () => void>();
let width = innerWidth;
addEventListener('resize', () => {
  if (width === innerWidth) return;
  width = innerWidth;
  for (const again of redraw.values()) again();
});

// ---- Mask and reach

let pair = firstPair();
const mask = data.masked ? startMask() : undefined;

/** A pair worth a look: a late query, and a key a quarter of the way. */
function firstPair(): [number, number] {
  const { tokens, spatial } = { tokens: data.sizes.tokens, spatial: data.spatial };
  const n = tokens.reduce((size, extent) => size * extent, 1);
  return spatial ? [Math.floor(n / 2 + tokens[1] / 2), Math.floor(n / 4)] : [Math.floor(0.9 * n), Math.floor(n / 4)];
}

function startMask() {
  const canvas = $<HTMLCanvasElement>('#cells canvas');
  const [iField, jField, headField] = ['i', 'j', 'head'].map((id) => $<HTMLInputElement>(`#${id}`));
  const view = new MaskView(canvas, sayEdges);
  let tokens = 1;

  function sayEdges(): void {
    const { top, left, span } = view.view;
    const edge = (from: number) => [Math.floor(from), Math.min(tokens - 1, Math.ceil(from + span) - 1)];
    const [[firstRow, lastRow], [firstColumn, lastColumn]] = [edge(top), edge(left)];
    for (const [name, value] of Object.entries({
      top: firstRow,
      bottom: lastRow,
      left: firstColumn,
      right: lastColumn,
    }))
      $(`[data-${name}]`).textContent = grouped(value);
    $('#field').style.setProperty('--cells', String(Math.min(16, Math.max(2, lastColumn - firstColumn + 1))));
  }

  const say = latest(async () => {
    try {
      const [i, j] = pair;
      const { sentence, keys } = await counter.ask('pairInWords', {
        setting: form.setting(),
        head: Number(headField.value),
        i,
        j,
      });
      $('#said').textContent = `${sentence}; this query sees ${grouped(keys)} of ${grouped(tokens)} keys.`;
    } catch {
      $('#said').textContent = '–';
    }
  });

  function point(i: number, j: number): void {
    const inside = (at: number) => Math.min(tokens - 1, Math.max(0, Math.round(at) || 0));
    const moved = inside(i) !== pair[0];
    pair = [inside(i), inside(j)];
    [iField.value, jField.value] = pair.map(String);
    view.point(pair);
    say();
    if (moved) countReach();
  }
  for (const field of [iField, jField])
    field.addEventListener('input', () => point(Number(iField.value), Number(jField.value)));

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
  headField.addEventListener('input', () => show());

  const show = latest(() =>
    live('mask', async (box) => {
      const setting = form.setting();
      const head = Math.max(0, Math.min(setting.heads - 1, Math.floor(Number(headField.value)) || 0));
      headField.max = String(setting.heads - 1);
      const { name, tokens: found, pairs } = await counter.ask('maskInWords', { setting, head });
      tokens = found;
      sayEdges();
      await view.show(found, (level, row, column) => counter.ask('maskTile', { setting, head, level, row, column }));
      point(...pair);
      saves($('[data-saves]', box), `${data.name}-mask`, {
        png: () => canvasPng(canvas),
        json: () => ({ setting, head, mask: name, pairs, view: view.view }),
      });
      return `${name}: ${grouped(pairs)} of ${grouped(found * found)} pairs seen (${formatPercent(pairs / found ** 2)}). Click the picture to zoom with the wheel; drag to move.`;
    }).then(showPicture),
  );
  return show;
}

const countReach = latest(async () => {
  if (!part('reach')) return;
  await live('reach', async (box) => {
    const setting = form.setting();
    const [query, tokens] = [Math.min(pair[0], count(setting) - 1), count(setting)];
    const [{ counts, layers }, { reachPlot }] = await Promise.all([
      counter.ask('reachThrough', { setting, query, layers: LAYERS }),
      plots(),
    ]);
    draw(box, `${data.name}-reach`, () => reachPlot($('[data-plot]', box).clientWidth || 320, counts, tokens, LAYERS), {
      setting,
      query,
      counts,
    });
    (data.spatial ? drawGrid : drawStrips)(query, counts, layers, setting.tokens);
    const last = counts.at(-1)!;
    const all = last === tokens ? 'everything' : `${grouped(last)} of ${grouped(tokens)} tokens`;
    return `Query ${grouped(query)} reaches ${grouped(counts[0])} tokens in one layer and ${all} through ${counts.length}${counts.length < LAYERS && last < tokens ? '; more layers add nothing' : ''}.`;
  });
});

/** What the query reaches, layer by layer: what is new in full ink. */
function drawStrips(query: number, counts: readonly number[], layers: Uint8Array): void {
  const box = $('#strips');
  const shown = counts.slice(0, 6);
  box.innerHTML = `<div class="heading">What query ${query} reaches, layer by layer</div><div class="of">of ${layers.length}</div>${shown.map((reached, at) => `<label>${at + 1}</label><div class="strip"><canvas height="1"></canvas></div><span class="count">${reached}</span>`).join('')}`;
  const paint = () => {
    const [red, green, blue] = ink('--family');
    for (const [at, canvas] of $$<HTMLCanvasElement>('canvas', box).entries()) {
      canvas.width = Math.min(layers.length, 2048);
      const context = canvas.getContext('2d')!;
      const image = context.createImageData(canvas.width, 1);
      for (const [token, layer] of layers.entries()) {
        if (layer === 0 || layer > at + 1) continue;
        const x = Math.floor((token * canvas.width) / layers.length);
        const opacity = layer === at + 1 ? 255 : 92;
        image.data.set([red, green, blue, Math.max(opacity, image.data[4 * x + 3])], 4 * x);
      }
      context.putImageData(image, 0, 0);
    }
  };
  paint();
  repaint = paint;
}
/** On a grid: the tokens where they lie, the query among them; what takes more layers is fainter. */
function drawGrid(query: number, _: readonly number[], layers: Uint8Array, [rows, columns]: readonly number[]): void {
  const box = $('#strips');
  if (!box.querySelector('.grid')) {
    box.innerHTML =
      '<div class="heading">Where they lie: what the query sees, and, fainter, what it reaches through more layers</div><canvas class="grid"></canvas>';
    $('canvas', box).addEventListener('pointermove', ({ offsetX, offsetY, currentTarget }) => {
      const canvas = currentTarget as HTMLCanvasElement;
      const token = (at: number, side: number, count: number) =>
        Math.min(count - 1, Math.max(0, Math.floor((at / side) * count)));
      const i =
        token(offsetY, canvas.clientHeight, canvas.height) * canvas.width +
        token(offsetX, canvas.clientWidth, canvas.width);
      $<HTMLInputElement>('#i').value = String(i);
      $('#i').dispatchEvent(new Event('input', { bubbles: true }));
    });
  }
  const canvas = $<HTMLCanvasElement>('canvas', box);
  repaint = () => {
    [canvas.width, canvas.height] = [columns!, rows!];
    const context = canvas.getContext('2d')!;
    const image = context.createImageData(columns!, rows!);
    const [family, hand] = [ink('--family'), ink('--hand')];
    for (const [token, layer] of layers.entries()) {
      const colour = token === query ? hand : family;
      image.data.set(
        [...colour, token === query ? 255 : layer === 0 ? 0 : Math.round(255 / (1 + 0.9 * (layer - 1)))],
        4 * token,
      );
    }
    context.putImageData(image, 0, 0);
  };
  repaint();
}
let repaint = () => {};
onTheme(() => repaint());

startRun(runner, () => form.setting());

// ---- All together

function changed(): void {
  try {
    form.setting();
    form.complain('');
  } catch (error) {
    form.complain(sentence(error));
  }
  writeCode();
  mask?.();
  // The picture first: the plots come with more script.
  void shown.then(() => {
    countReach();
    countCost();
  });
}
changed();
