/** The text whose numbers are shown, word by word: arcs lead from a word that is pointed at to those that it takes most of. */
import { type Helper, latest } from './ask';
import { headOf, live, type MethodPage, part } from './live';
import { $, $$, grouped } from './page';

/** Words that are shown, and arcs from one of them. */
const MOST_WORDS = 256;
const MOST_ARCS = 6;

type Helpers = Readonly<Record<'counter' | 'weigher', Helper>>;

export function startSentence({ form }: MethodPage, { counter, weigher }: Helpers): () => void {
  const box = part('sentence');
  if (!box) return () => undefined;
  const [place, arcs] = [$('[data-words]', box), $<HTMLElement>('[data-arcs]', box)];
  const [query, headField] = [$<HTMLInputElement>('#i'), $<HTMLInputElement>('#head')];
  let pointed = Number(query.value);

  const show = latest(() =>
    live('sentence', async () => {
      const setting = form.setting();
      box.hidden = !setting.numbers?.startsWith('layer');
      if (box.hidden) return '';
      const words = await weigher.ask('wordsOf', { setting });
      const shown = words.slice(0, MOST_WORDS);
      place.replaceChildren(...shown.map(button));
      await point(Math.min(pointed, shown.length - 1));
      const rest =
        words.length > shown.length ? ` The first ${shown.length} of ${grouped(words.length)} are shown.` : '';
      return `${grouped(words.length)} pieces of words, as the encoder reads them.${rest} Point at one to see what it takes.`;
    }),
  );

  function button(word: string, at: number): HTMLElement {
    const element = document.createElement('button');
    element.type = 'button';
    element.textContent = word;
    element.dataset.at = String(at);
    return element;
  }

  /** The shares that a word takes of the others as ink behind them, and the largest as arcs. */
  async function point(at: number): Promise<void> {
    pointed = at;
    const setting = form.setting();
    const head = headOf(headField, setting);
    const weights = await weigher.ask('weightsOfQuery', { setting, head, query: at }).catch(async () => {
      const { layers } = await counter.ask('reachThrough', { setting, query: at, layers: 1 });
      return Float32Array.from(layers);
    });
    if (at !== pointed) return;
    const words = $$('button', place);
    const largest = weights.reduce((most, weight) => Math.max(most, Math.abs(weight)), 0) || 1;
    for (const [key, word] of words.entries()) {
      word.style.setProperty('--share', `${Math.round((70 * Math.abs(weights[key])) / largest)}%`);
      word.toggleAttribute('data-on', key === at);
    }
    const best = words
      .map((_, key) => key)
      .filter((key) => key !== at && weights[key] !== 0)
      .sort((a, b) => Math.abs(weights[b]) - Math.abs(weights[a]))
      .slice(0, MOST_ARCS);
    drawArcs(words, at, best, (key) => Math.abs(weights[key]) / largest);
  }

  function drawArcs(
    words: readonly HTMLElement[],
    at: number,
    keys: readonly number[],
    share: (key: number) => number,
  ) {
    const frame = place.getBoundingClientRect();
    const top = (word: HTMLElement) => {
      const { left, width, top } = word.getBoundingClientRect();
      return [left + width / 2 - frame.left, top - frame.top] as const;
    };
    const [x0, y0] = top(words[at]);
    const paths = keys.map((key) => {
      const [x1, y1] = top(words[key]);
      const height = Math.min(y0, y1) - Math.min(40, 10 + Math.hypot(x1 - x0, y1 - y0) / 6);
      return `<path d="M${x0} ${y0}C${x0} ${height} ${x1} ${height} ${x1} ${y1}" stroke-width="${1 + 3 * share(key)}"/>`;
    });
    arcs.innerHTML = `<svg width="${frame.width}" height="${frame.height}" aria-hidden="true">${paths.join('')}</svg>`;
  }

  for (const event of ['pointerover', 'focusin', 'click'])
    place.addEventListener(event, ({ target }) => {
      const { at } = (target as HTMLElement).dataset;
      if (at === undefined) return;
      query.value = at;
      query.dispatchEvent(new Event('input', { bubbles: true }));
      void point(Number(at)).catch(() => undefined);
    });
  headField.addEventListener('input', show);
  return show;
}
