/** Papers ranked for a question: by its words, and by its meaning where the encoder has said how near each paper is. */

/** What can be found of a paper. */
export interface Findable {
  readonly id: string;
  /** Name, title and authors, which weigh more than sentences about it. */
  readonly title: string;
  readonly sentences: readonly string[];
}

export interface Ranked {
  readonly id: string;
  /** At most 1. */
  readonly score: number;
}

/** How near a paper is to a question by its meaning. */
export interface Near {
  readonly id: string;
  readonly cosine: number;
}

/** Words that questions have and answers have not. */
const COMMON = new Set(
  'a about after all an and any are as at be but by can do does each for from has have how i if in into is it its me my of on or our so than that the their them then there these they this to up use used uses using was we what when where which while who why will with without you your'.split(
    ' ',
  ),
);

/** The usual constants of BM25: how soon repeats stop counting, and how much long texts are held back. */
const [SATURATION, LENGTH] = [1.2, 0.6];
/** How often a word of the title counts. */
const OF_TITLE = 3;
/** Share of a meaning in the score of a sentence. */
const OF_MEANING = 0.5;
/** The least score of an answer, by words and meaning, or by words alone; and as a share of the best one's by words. */
const [LEAST, LEAST_BY_WORDS, SHARE_BY_WORDS] = [0.28, 0.09, 0.35];
/** Letters of a question that count. */
const LONGEST = 3000;

/** The sentences of a question, each asked by itself: a long text has too many words for any paper to have most of them. */
export function sentencesOf(question: string): string[] {
  const text = question.trim().slice(0, LONGEST);
  const all = text.split(/(?<=[.!?;])\s+/).filter((sentence) => stems(sentence).length > 2);
  return all.length > 1 ? all : [text];
}

/** Words without their endings. */
export function stems(text: string): string[] {
  return (text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []).filter((word) => !COMMON.has(word)).map(stem);
}

function stem(word: string): string {
  if (word.length < 4) return word;
  const bare = word
    .replace(/(ies|ied)$/, 'y')
    .replace(/(sses|shes|ches|xes)$/, (end) => end.slice(0, -2))
    .replace(/([^s])s$/, '$1')
    .replace(/(ations?|ating|ated|ates|ate)$/, '')
    .replace(/(ings?|ed|er|ers|ion|ions|ment|ments|ly|e)$/, '');
  return bare.length < 3 ? word : bare.replace(/(.)\1$/, '$1');
}

/** Ranks by words: how much of what is rare in the question a paper has, from 0 to 1. */
export class Words {
  readonly #papers: readonly {
    readonly id: string;
    readonly counts: ReadonlyMap<string, number>;
    readonly length: number;
  }[];
  readonly #mean: number;
  /** In how many papers each word is. */
  readonly #spread = new Map<string, number>();

  constructor(papers: readonly Findable[]) {
    this.#papers = papers.map(({ id, title, sentences }) => {
      const counts = new Map<string, number>();
      const add = (text: string, weight: number) => {
        for (const word of stems(text)) counts.set(word, (counts.get(word) ?? 0) + weight);
      };
      add(title, OF_TITLE);
      for (const sentence of sentences) add(sentence, 1);
      for (const word of counts.keys()) this.#spread.set(word, (this.#spread.get(word) ?? 0) + 1);
      return { id, counts, length: [...counts.values()].reduce((sum, count) => sum + count, 0) };
    });
    this.#mean = this.#papers.reduce((sum, { length }) => sum + length, 0) / papers.length;
  }

  rank(question: string): Ranked[] {
    const words = [...new Set(stems(question))];
    // The last word may not be finished.
    const open = /[\p{L}\p{N}]$/u.test(question) ? words.at(-1) : undefined;
    const rarity = (word: string) => {
      const spread = this.#spread.get(word) ?? 0;
      return Math.log(1 + (this.#papers.length - spread + 0.5) / (spread + 0.5));
    };
    const most = words.reduce((sum, word) => sum + rarity(word), 0);
    return this.#papers
      .map(({ id, counts, length }) => {
        const found = words.map((word) => {
          const count = counts.get(word) ?? (word === open ? begun(counts, word) : 0);
          const held = SATURATION * (1 - LENGTH + (LENGTH * length) / this.#mean);
          return (rarity(word) * count * (1 + SATURATION)) / (count + held) / (1 + SATURATION);
        });
        return { id, score: most === 0 ? 0 : found.reduce((a, b) => a + b, 0) / most };
      })
      .sort((a, b) => b.score - a.score);
  }
}

/** How often a paper has words that begin so. */
function begun(counts: ReadonlyMap<string, number>, beginning: string): number {
  if (beginning.length < 3) return 0;
  let sum = 0;
  for (const [word, count] of counts) if (word.startsWith(beginning)) sum += count;
  return sum;
}

/**
 * The papers that answer the question (by meaning, two sentences of several), the best answer first. Words and meaning each say
 * something that the other does not; but several sentences have enough words, and their meanings point to the same few papers.
 */
export function answers(sentences: readonly string[], words: Words, meanings?: readonly (readonly Near[])[]): Ranked[] {
  const count = sentences.length;
  const scores = new Map<string, { sum: number; each: number[] }>();
  for (const [at, sentence] of sentences.entries()) {
    const cosines = new Map(meanings?.[at].map(({ id, cosine }) => [id, cosine]));
    for (const { id, score } of words.rank(sentence)) {
      const mixed = (share: number) => (meanings ? share * cosines.get(id)! + (1 - share) * score : score);
      const { sum, each } = scores.get(id) ?? { sum: 0, each: [] };
      scores.set(id, { sum: sum + mixed(count === 1 ? OF_MEANING : 0), each: [...each, mixed(OF_MEANING)] });
    }
  }
  const [least, needed] = meanings ? [LEAST, Math.min(2, count)] : [LEAST_BY_WORDS, 1];
  const found = [...scores]
    .filter(([, { each }]) => each.filter((score) => score >= least).length >= needed)
    .map(([id, { sum }]) => ({ id, score: sum / count }))
    .sort((a, b) => b.score - a.score);
  return meanings ? found : found.filter(({ score }) => score >= found[0].score * SHARE_BY_WORDS);
}
