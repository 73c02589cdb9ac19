/** What a test refuses: papers, methods and models that contradict each other. */
import { ParameterError } from '../errors';
import type { ListedPaper } from '.';

/** A method or model, by what names its paper. */
interface Named {
  readonly name: string;
  readonly paper?: string | undefined;
}

interface Known {
  readonly methods: readonly Named[];
  readonly models: readonly Named[];
  /** The folders of experiments. */
  readonly measured?: readonly string[];
}

const LEAST_PROBLEMS = 3;

/**
 * @throws {ParameterError} with the name of the paper, method or model: two of one name; a paper that lacks what lists show,
 * names nothing that is its own, or counts what a method counts; a method, model or experiment whose paper is missing or does not name it
 */
export function checkPapers(papers: readonly ListedPaper[], { methods, models, measured = [] }: Known): void {
  for (const key of ['name', 'title', 'arxiv'] as const) checkDifferent(`papers of ${key}`, papers, key);
  for (const paper of papers) {
    checkPaper(paper);
    const own = methods.find((method) => method.paper === paper.arxiv);
    if (own && paper.operations)
      throw new ParameterError(`src/papers/${paper.id}.ts must have no operations, since ${own.name} counts them`);
    const runs = [...methods, ...models].some(({ name }) => [paper.methods, paper.models].flat().includes(name));
    if (!runs && !paper.claims?.length)
      throw new ParameterError(`src/papers/${paper.id}.ts must have claims to test, since nothing of it runs yet`);
  }
  const lost = measured.find((id) => !papers.some((paper) => paper.id === id));
  if (lost !== undefined) throw new ParameterError(`src/experiments/${lost} is named after no paper of src/papers`);
  for (const [what, all] of Object.entries({ methods, models })) {
    checkDifferent(what, all, 'name');
    for (const { name, paper: arxiv } of all) {
      if (arxiv === undefined) continue;
      const paper = papers.find((each) => each.arxiv === arxiv);
      if (!paper) throw new ParameterError(`${name} is from arXiv ${arxiv}, but no file in src/papers has that number`);
      if (!paper[what as 'methods' | 'models']?.includes(name))
        throw new ParameterError(
          `${name} is from arXiv ${arxiv}, but src/papers/${paper.id}.ts has no ${name} in ${what}`,
        );
    }
  }
}

function checkDifferent<Key extends string>(
  what: string,
  all: readonly Readonly<Record<Key, string>>[],
  key: Key,
): void {
  const values = all.map((each) => each[key]);
  const twice = values.find((value, at) => values.indexOf(value) < at);
  if (twice !== undefined) throw new ParameterError(`there are two ${what} '${twice}'`);
}

function checkPaper({ id, arxiv, authors, summary, problems, methods = [], models = [], pipelines = [] }: ListedPaper) {
  const refuse = (expected: string) => new ParameterError(`src/papers/${id}.ts ${expected}`);
  if (!/^\d{4}\.\d{5}$/.test(arxiv)) throw refuse(`must have an arXiv number such as 2503.03588, got '${arxiv}'`);
  if (authors.trim() === '') throw refuse('must name authors');
  if (!/^[A-Z].{60,}\.$/.test(summary)) throw refuse(`must tell its idea in a sentence, got '${summary}'`);
  if (problems.length < LEAST_PROBLEMS)
    throw refuse(`must have at least ${LEAST_PROBLEMS} problems, got ${problems.length}`);
  if (methods.length + models.length + pipelines.length === 0)
    throw refuse('must name a method, a model or a pipeline, present or to come');
}
