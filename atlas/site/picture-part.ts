/** The picture of a method: which keys its mask shows to each query, or how much a query takes of each value. */
import { formatPercent, significant } from '../../src/text/format';
import { type Helper, latest } from './ask';
import { MOST_LAYERED } from './constants';
import { element, html } from './html';
import { headOf, layersShown, live, type MethodPage } from './live';
import { type Matrix, MatrixView } from './matrix-view';
import { $, $$, grouped, ink, onTheme } from './page';
import { tokensIn } from './problem';
import { canvasPng, saves } from './save';
import { inkOf, paintShares, paintWeights, type Scale, type ScaleName, scaleOf } from './scale';

type Helpers = Readonly<Record<'counter' | 'weigher', Helper>>;

/** Pixels from a word on an axis to the next. */
const WORD_APART = 15;

/** Draws what the setting says; tells of another query. */
export function startPicture(page: MethodPage, helpers: Helpers, onQuery: () => void): () => Promise<void> {
  const picture = new Picture(page, helpers, onQuery);
  return () => picture.update();
}

class Picture {
  readonly #page: MethodPage;
  readonly #helpers: Helpers;
  readonly #onQuery: () => void;
  readonly #canvas = $<HTMLCanvasElement>('#cells canvas');
  readonly #figure = this.#canvas.closest('figure')!;
  readonly #stop = $<HTMLButtonElement>('[data-cancel]', this.#figure);
  readonly #iField = $<HTMLInputElement>('#i');
  readonly #jField = $<HTMLInputElement>('#j');
  readonly #headField = $<HTMLInputElement>('#head');
  readonly #viewField = $<HTMLInputElement>('#view');
  readonly #choice = document.querySelector<HTMLSelectElement>('#picture');
  readonly #scaleChoice = document.querySelector<HTMLSelectElement>('#ink');
  readonly #rule = document.querySelector<HTMLElement>('#rule');
  readonly #east = document.querySelector<HTMLElement>('#east');
  readonly #view = new MatrixView(this.#canvas, () => this.#writeEdges());
  #tokens: number;
  #pair: readonly [number, number] = [Number(this.#iField.value), Number(this.#jField.value)];
  /** The view last written to the address. */
  #written = '';
  /** Ends what is being shown when the setting changes. */
  #showing: AbortController | undefined;
  readonly #shown = Promise.withResolvers<void>();
  /** How many keys each query reads. */
  #read: Uint32Array = new Uint32Array(0);
  #paintLegend = () => {};

  readonly #describePair = latest(async () => {
    try {
      $('#said').textContent = await this.#pairInWords();
    } catch {
      $('#said').textContent = '–';
    }
  });
  readonly #show = latest(() =>
    live(this.#page.data.masked ? 'mask' : 'weights', (box) => this.#draw(box)).then(this.#shown.resolve),
  );

  constructor(page: MethodPage, helpers: Helpers, onQuery: () => void) {
    this.#page = page;
    this.#helpers = helpers;
    this.#onQuery = onQuery;
    this.#tokens = tokensIn(page.data.sample.extents);
    onTheme(() => {
      this.#paintLegend();
      this.#paintRead();
    });
    this.#listenToPointer();
    this.#canvas.addEventListener('keydown', (event) => this.#onKey(event));
    const zooms: Record<string, () => void> = {
      in: () => this.#view.zoomAtPair(2),
      out: () => this.#view.zoomAtPair(0.5),
      all: () => this.#view.whole(),
      cells: () => this.#view.cells(),
    };
    for (const button of $$('[data-zoom]')) button.addEventListener('click', zooms[button.dataset.zoom!]);
    for (const field of [this.#iField, this.#jField])
      field.addEventListener('input', () => this.#point(Number(this.#iField.value), Number(this.#jField.value)));
    this.#stop.addEventListener('click', () => {
      this.#canvas.focus({ preventScroll: true });
      this.#showing?.abort();
    });
    for (const field of [this.#headField, this.#choice, this.#scaleChoice, ...$$('[name=layers]')])
      field?.addEventListener('input', this.#show);
  }

  /** Draws the setting; resolves once the first picture is there. */
  update(): Promise<void> {
    this.#showing?.abort();
    this.#show();
    return this.#shown.promise;
  }

  get #isOfWeights(): boolean {
    return !this.#page.data.masked || this.#choice?.value === 'weights';
  }

  /** The setting and head that the workers are asked about. */
  #question() {
    const setting = this.#page.form.setting();
    return { setting, head: headOf(this.#headField, setting) };
  }

  async #pairInWords(): Promise<string> {
    const [i, j] = this.#pair;
    const question = { ...this.#question(), i, j };
    if (this.#isOfWeights) return `${await this.#helpers.weigher.ask('weightInWords', question)}.`;
    const { sentence, keys, way } = await this.#helpers.counter.ask('pairInWords', question);
    if (question.i === this.#pair[0] && question.j === this.#pair[1]) this.#view.lead(way);
    return `${sentence}; this query sees ${grouped(keys)} of ${grouped(this.#tokens)} keys.`;
  }

  /** Labels the edges with the tokens in view and writes the view to the address. */
  #writeEdges(): void {
    const { top, left, span } = this.#view.view;
    const edge = (from: number) => [Math.floor(from), Math.min(this.#tokens - 1, Math.ceil(from + span) - 1)];
    const [[firstRow, lastRow], [firstColumn, lastColumn]] = [edge(top), edge(left)];
    const edges = { top: firstRow, bottom: lastRow, left: firstColumn, right: lastColumn };
    for (const [name, value] of Object.entries(edges)) {
      const place = $(`[data-${name}]`);
      if (place.textContent !== grouped(value)) place.textContent = grouped(value);
    }
    this.#paintRead();
    this.#writeWords();
    const cells = String(Math.min(16, Math.max(2, lastColumn - firstColumn + 1)));
    const { style } = $('#field');
    if (style.getPropertyValue('--cells') !== cells) style.setProperty('--cells', cells);
    const view = span >= this.#tokens ? '' : [top, left, span].map((value) => Number(value.toFixed(2))).join(' ');
    if (view === this.#written) return;
    this.#written = this.#viewField.value = view;
    this.#page.form.remember();
  }

  /** The words of rows and columns in view, as many as there is room for, and those of the pair. */
  #writeWords(): void {
    const { words } = this.#page;
    const { top, left, scale, span } = this.#view.view;
    const [i, j] = this.#pair;
    $('#field').classList.toggle('worded', words.length > 0);
    const apart = WORD_APART * devicePixelRatio;
    const step = Math.ceil(apart / scale);
    for (const [axis, from, picked] of [['down', top, i] as const, ['across', left, j] as const]) {
      const place = document.querySelector<HTMLElement>(`[data-axis=${axis}]`);
      const key = [words.join(''), from, span, picked].join(' ');
      if (!place || place.dataset.of === key) continue;
      place.dataset.of = key;
      const isShown = (at: number) =>
        at === picked || (at % step === 0 && Math.abs(at - picked) * scale >= apart && at + 0.5 > from);
      const shown = words.map((word, at) => [word, at] as const).filter(([, at]) => at < from + span && isShown(at));
      place.replaceChildren(
        ...shown.map(([word, at]) =>
          element(
            html`<span class="${at === picked && 'picked'}" style="--at:${(100 * (at + 0.5 - from)) / span}%">${word.trim()}</span>`,
          ),
        ),
      );
    }
  }

  #point(i: number, j: number): void {
    const inside = (at: number) => Math.min(this.#tokens - 1, Math.max(0, Math.round(at) || 0));
    const isOther = inside(i) !== this.#pair[0];
    this.#pair = [inside(i), inside(j)];
    [this.#iField.value, this.#jField.value] = this.#pair.map(String);
    this.#view.point(this.#pair);
    this.#describePair();
    this.#page.form.remember();
    if (isOther) this.#onQuery();
  }

  /** A mouse points as it moves; dragging pans, the wheel and a double click zoom. */
  #listenToPointer(): void {
    const canvas = this.#canvas;
    const view = this.#view;
    let held: readonly [number, number] | undefined;
    const at = ({ clientX, clientY }: { clientX: number; clientY: number }) => {
      const { left, top } = canvas.getBoundingClientRect();
      return [(clientX - left) * devicePixelRatio, (clientY - top) * devicePixelRatio] as const;
    };
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
      held = at(event);
      this.#point(...view.pairAt(...held));
    });
    canvas.addEventListener('pointermove', (event) => {
      const now = at(event);
      if (held) {
        view.pan(now[0] - held[0], now[1] - held[1]);
        held = now;
      } else if (event.pointerType === 'mouse') this.#point(...view.pairAt(...now));
    });
    for (const end of ['pointerup', 'pointercancel'] as const)
      canvas.addEventListener(end, () => {
        held = undefined;
      });
    canvas.addEventListener(
      'wheel',
      (event) => {
        // The page scrolls unless the picture has the focus or the user pinches.
        if (!event.ctrlKey && document.activeElement !== canvas) return;
        event.preventDefault();
        view.zoom(2 ** (-event.deltaY / 200), ...at(event));
      },
      { passive: false },
    );
    canvas.addEventListener('dblclick', (event) => view.zoom(2, ...at(event)));
  }

  #onKey(event: KeyboardEvent): void {
    const step = event.shiftKey ? 16 : 1;
    const moves: Record<string, readonly [number, number]> = {
      ArrowUp: [-step, 0],
      ArrowDown: [step, 0],
      ArrowLeft: [0, -step],
      ArrowRight: [0, step],
    };
    const move = moves[event.key];
    if (event.key === '+' || event.key === '=') this.#view.zoomAtPair(2);
    else if (event.key === '-') this.#view.zoomAtPair(0.5);
    else if (move) this.#point(this.#pair[0] + move[0], this.#pair[1] + move[1]);
    else return;
    event.preventDefault();
  }

  /** The view and the pair of the address, once there is something to look at. */
  #restore(): void {
    if (this.#viewField.value !== this.#written) {
      this.#written = this.#viewField.value;
      const [top, left, span] = this.#written.split(' ').map(Number);
      if (span > 0 && Number.isFinite(top + left + span)) this.#view.look(top, left, span);
      else this.#view.whole();
    }
    this.#point(Number(this.#iField.value), Number(this.#jField.value));
  }

  async #draw(box: HTMLElement): Promise<string> {
    this.#headField.max = String(this.#page.form.setting().extents.h - 1);
    for (const each of $$('[data-weights]', box)) each.hidden = !this.#isOfWeights;
    for (const each of $$('[data-masks]', box)) each.hidden = this.#isOfWeights;
    $('#field').classList.toggle('alone', this.#isOfWeights);
    this.#showing = new AbortController();
    const { signal } = this.#showing;
    const shown = this.#isOfWeights ? this.#showWeights(box, signal) : this.#showMask(box, signal);
    return shown.finally(() => {
      this.#stop.hidden = true;
    });
  }

  /** Shows how far slow work is, with the button that cancels it. */
  #tell(box: HTMLElement, said: string): void {
    this.#stop.hidden = false;
    $('[data-said]', box).textContent = `${said} …`;
  }

  async #showMask(box: HTMLElement, signal: AbortSignal): Promise<string> {
    const question = this.#question();
    const { counter } = this.#helpers;
    const { name, tokens, pairs } = await counter.ask('maskInWords', question, { signal });
    /** How much of each slow tile has been counted. */
    const shares = new Map<string, number>();
    const layers = tokens > MOST_LAYERED ? 1 : layersShown();
    const [parts, read] = await Promise.all([
      counter.ask('partsOf', question, { signal }),
      counter.ask('keysRead', question, { signal }),
    ]);
    this.#read = read;
    this.#offerParts(parts, tokens <= MOST_LAYERED / 2);
    await this.#showTiles({
      tokens,
      paint: (cells, pixels) => paintShares(cells, pixels, '--family', layers === 1),
      load: (level, row, column) => {
        const onProgress = (share: unknown) => {
          shares.set(`${level} ${row} ${column}`, share as number);
          const all = [...shares.values()].reduce((sum, each) => sum + each, 0) / shares.size;
          this.#tell(box, `counting pairs, ${formatPercent(all)}`);
        };
        return counter.ask('maskTile', { ...question, level, row, column, layers }, { signal, onProgress });
      },
    });
    this.#offerFiles({ ...question, mask: name, pairs }, (share) => share / 255);
    const inks = layers > 1 ? ' Full ink: seen in one layer; fainter: reached through more.' : '';
    const fewer = tokens > MOST_LAYERED ? ` Layers are drawn up to ${grouped(MOST_LAYERED)} tokens.` : '';
    return `${grouped(pairs)} of ${grouped(tokens ** 2)} pairs seen (${formatPercent(pairs / tokens ** 2)}): ${name}.${inks}${fewer}`;
  }

  /** A line for each part of the mask; the one that is pointed at shows its pairs. */
  #offerParts(parts: readonly string[], canShow: boolean): void {
    const rule = this.#rule!;
    if (rule.dataset.of === parts.join('\n')) return;
    rule.dataset.of = parts.join('\n');
    rule.replaceChildren(
      ...(parts.length > 1 ? parts : []).map((part) => {
        const item = element(html`<li><button type="button">${part}</button></li>`);
        const button = $('button', item);
        const point = (is: boolean) => () => canShow && this.#showPart(is ? part : undefined);
        for (const event of ['pointerenter', 'focus']) button.addEventListener(event, point(true));
        for (const event of ['pointerleave', 'blur']) button.addEventListener(event, point(false));
        return item;
      }),
    );
  }

  /** The pairs of a part of the mask in the reader's colour, or again what is seen. */
  #showPart(part: string | undefined): void {
    if (part === undefined) {
      this.#show();
      return;
    }
    const question = { ...this.#question(), part };
    void this.#view.show({
      tokens: this.#tokens,
      paint: (cells, pixels) => paintShares(cells, pixels, '--hand'),
      load: (level, row, column) => this.#helpers.counter.ask('maskTile', { ...question, level, row, column }),
    });
  }

  /** Bars beside the rows in view: how many keys each query reads, the one pointed at with its number. */
  #paintRead(): void {
    const east = this.#east;
    if (!east || this.#read.length === 0) return;
    const canvas = $<HTMLCanvasElement>('canvas', east);
    const { top, scale } = this.#view.view;
    [canvas.width, canvas.height] = [east.clientWidth * devicePixelRatio, this.#canvas.height];
    const context = canvas.getContext('2d')!;
    const most = this.#read.reduce((a, b) => Math.max(a, b), 1);
    const room = canvas.width * 0.55;
    const bar = (query: number, colour: string, opacity: number) => {
      context.fillStyle = `rgb(${ink(colour).join(' ')} / ${opacity})`;
      context.fillRect(0, (query - top) * scale, (room * this.#read[query]) / most, Math.max(1, scale));
    };
    const last = Math.min(this.#read.length - 1, Math.ceil(top + canvas.height / scale));
    const step = Math.max(1, Math.floor(1 / scale));
    for (let query = Math.floor(top); query <= last; query += step) bar(query, '--family', 0.32);
    const [query] = this.#pair;
    bar(query, '--hand', 1);
    const label = $('b', east);
    label.textContent = grouped(this.#read[query] ?? 0);
    const place = ((query + 0.5 - top) * scale) / canvas.height;
    label.hidden = place < 0 || place > 1;
    label.style.top = `${100 * place}%`;
    label.style.left = `${55 * ((this.#read[query] ?? 0) / most)}%`;
  }

  async #showWeights(box: HTMLElement, signal: AbortSignal): Promise<string> {
    const question = this.#question();
    const { weigher } = this.#helpers;
    const onProgress = (said: unknown) => this.#tell(box, said as string);
    const found = await weigher.ask('weightsInWords', question, { signal, onProgress });
    const name = (this.#scaleChoice?.value ?? 'log') as ScaleName;
    const scale = scaleOf(name, found);
    const relative = name === 'row';
    this.#paintLegend = () => paintLegend(scale, found.negative);
    this.#paintLegend();
    await this.#showTiles({
      tokens: found.tokens,
      paint: (cells, pixels) => paintWeights(cells, scale, pixels),
      load: (level, row, column) => weigher.ask('weightsTile', { ...question, level, row, column, relative }),
    });
    this.#offerFiles({ ...question, relative, output: found.output }, (weight) => Number(weight.toPrecision(6)));
    const { output, error, scaled, nan } = found;
    const more = nan.length > 5 ? ', …' : '';
    const rows =
      nan.length === 0
        ? ''
        : ` ${grouped(nan.length)} queries, hatched, have weights that are NaN (${nan.slice(0, 5).map(grouped).join(', ')}${more}).`;
    const exact = scaled ? `, each row up to a factor, since ${this.#page.data.name} normalises it` : '';
    return `Computed by the library on the numbers that a run takes: each column is its output for a value of 1 on that key alone. Summed with these weights, the values of the sample give ${output === 'out' ? 'its output' : `its output ${output}`} to within ${significant(error)} of the largest${exact}.${rows}`;
  }

  async #showTiles(matrix: Matrix): Promise<void> {
    this.#tokens = matrix.tokens;
    const whole = this.#view.show(matrix);
    this.#restore();
    await whole;
  }

  #offerFiles(about: object, written: (cell: number) => number): void {
    const name = `${this.#page.data.name}-${this.#isOfWeights ? 'weights' : 'mask'}`;
    saves($('[data-saves]', this.#figure), name, {
      png: () => canvasPng(this.#canvas, '--plate'),
      json: () => {
        const { rows, ...place } = this.#view.drawn();
        const cells = rows.map((row) => row.map((cell) => (cell === undefined ? null : written(cell))));
        return { ...about, ...place, cells };
      },
    });
  }
}

/** The ink of each weight, negative ones to the left. */
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
