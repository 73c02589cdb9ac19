/** The text whose numbers are shown, word by word: arcs lead from the word that is pointed at to those that it takes most of. */
import { type Helper, latest } from './ask';
import { APART } from './constants';
import { element, html } from './html';
import { headOf, live, type MethodPage, part } from './live';
import { $, $$, grouped } from './page';

/** Tokens of a new text that are taken at first, words that are shown, and arcs from one of them. */
const MOST_TAKEN = 128;
const MOST_WORDS = 256;
const MOST_ARCS = 6;

type Helpers = Readonly<Record<'counter' | 'weigher', Helper>>;

export interface Sentence {
  /** Shows the words of the setting, whose length becomes theirs. */
  update(): Promise<void>;
  /** Draws arcs from the word of the query. */
  point(): void;
}

export function startSentence(page: MethodPage, { counter, weigher }: Helpers): Sentence {
  const box = part('sentence');
  if (!box) return { update: async () => undefined, point: () => undefined };
  const { form } = page;
  const [place, arcs] = [$('[data-words]', box), $<HTMLElement>('[data-arcs]', box)];
  const [query, headField] = [$<HTMLInputElement>('#i'), $<HTMLInputElement>('#head')];
  let [isNew, updates] = [false, 0];
  $('[name=text]').addEventListener('input', () => {
    isNew = true;
  });

  const update = () =>
    live('sentence', async () => {
      const setting = form.setting();
      const [update, wasNew] = [++updates, isNew];
      box.hidden = !setting.numbers?.startsWith('layer');
      page.words = [];
      if (box.hidden) return '';
      const onProgress = (said: unknown) => {
        $('[data-said]', box).textContent = `${said} …`;
      };
      const { n } = setting.extents;
      const all = await weigher.ask('wordsOf', { setting }, { onProgress });
      // What came after a newer setting is not shown.
      if (update !== updates) return '';
      page.words = all.slice(0, wasNew ? MOST_TAKEN : n);
      isNew = false;
      form.setLength(page.words.length);
      const words = page.words.slice(0, MOST_WORDS);
      place.replaceChildren(
        ...words.map((word, at) => element(html`<button type="button" data-at="${at}">${word}</button>`)),
      );
      arcs.replaceChildren();
      point();
      const taken = page.words.length < all.length ? `The first ${grouped(page.words.length)}` : grouped(all.length);
      const pieces = page.words.length === 1 ? 'piece' : 'pieces';
      const isUnknown = page.words.some((word) => word.includes('\ufffd'));
      const unknown = isUnknown ? ' \ufffd is what the encoder, which has read English, does not know.' : '';
      return `${taken} ${pieces} of words, as the encoder reads them: point at one to see what it takes of the others.${unknown}`;
    });

  /** The shares that the word takes of the others as ink behind them, and the largest as arcs. */
  const point = latest(async () => {
    const words = $$('button', place);
    const at = Number(query.value);
    if (box.hidden || !words[at]) return;
    const weights = await weightsOf(at);
    const largest = weights.reduce((most, weight) => Math.max(most, Math.abs(weight)), 0) || 1;
    const shares = words.map((_, key) => Math.abs(weights[key] ?? 0) / largest);
    for (const [key, word] of words.entries()) {
      word.style.setProperty('--share', `${Math.round(70 * shares[key])}%`);
      word.toggleAttribute('data-on', key === at);
    }
    const best = words.map((_, key) => key).filter((key) => key !== at && shares[key] > 0);
    const ends = best.sort((a, b) => shares[b] - shares[a]).slice(0, MOST_ARCS);
    drawArcs(words, at, ends, shares);
  }, APART);

  /** Weights, or without them what the query sees; nothing where neither can be had. */
  async function weightsOf(at: number): Promise<readonly number[]> {
    try {
      const setting = form.setting();
      const head = headOf(headField, setting);
      const weights = await weigher
        .ask('weightsOfQuery', { setting, head, query: at })
        .catch(async () => (await counter.ask('reachThrough', { setting, query: at, layers: 1 })).layers);
      return Array.from(weights);
    } catch {
      return [];
    }
  }

  function drawArcs(words: readonly HTMLElement[], at: number, keys: readonly number[], shares: readonly number[]) {
    const frame = place.getBoundingClientRect();
    const top = (word: HTMLElement) => {
      const { left, width, top } = word.getBoundingClientRect();
      return [left + width / 2 - frame.left, top - frame.top] as const;
    };
    const [x0, y0] = top(words[at]);
    const paths = keys.map((key) => {
      const [x1, y1] = top(words[key]);
      const height = Math.min(y0, y1) - Math.min(40, 10 + Math.hypot(x1 - x0, y1 - y0) / 6);
      return `<path d="M${x0} ${y0}C${x0} ${height} ${x1} ${height} ${x1} ${y1}" stroke-width="${1 + 3 * shares[key]}"/>`;
    });
    arcs.innerHTML = `<svg width="${frame.width}" height="${frame.height}" aria-hidden="true">${paths.join('')}</svg>`;
  }

  for (const event of ['pointerover', 'focusin', 'click'])
    place.addEventListener(event, ({ target }) => {
      const { at } = (target as HTMLElement).dataset;
      if (at === undefined || at === query.value) return;
      query.value = at;
      query.dispatchEvent(new Event('input', { bubbles: true }));
    });
  headField.addEventListener('input', point);
  return { update, point };
}
