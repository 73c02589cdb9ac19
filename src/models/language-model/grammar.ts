/** What keeps answers to JSON, to a JSON schema or to a grammar: by the package @mlc-ai/web-xgrammar, which is loaded on first use. */
import { checkKnown, isRecord, show } from '../../check';
import { ParameterError, UnsupportedError } from '../../errors';
import { checkInstalled, resolvePackage } from '../../packages';
import { reasonOf } from '../../text/reason';
import { LimitedWorker } from '../../workers/limited';
import { statesOfGrammar } from './grammar-states';
import type { FormatText, GrammarSetup } from './grammar-work';
import { languageWorker } from './language-worker';
import { schemaGrammar } from './schema-grammar';
import type { LanguageTokenizer } from './tokenizer';

/** Any JSON, JSON as a schema describes it, or texts of a grammar in EBNF, whose rule `root` is the whole. */
export type AnswerFormat = 'json' | { readonly schema: unknown } | { readonly grammar: string };

const PACKAGE = '@mlc-ai/web-xgrammar';
const [MOST_CHARACTERS, MOST_STATES] = [65_536, 10_000];
/** What a format may take to compile, and a mask of tokens. */
const [COMPILE_SECONDS, MASK_SECONDS] = [10, 10];

/** A format as its grammar. @throws {ParameterError} one that is none of these, or larger than is computed */
export function textOf(format: AnswerFormat): FormatText {
  if (format === 'json') return { kind: 'any', text: '' };
  const isOne = isRecord(format) && ('schema' in format || 'grammar' in format);
  if (!isOne) throw new ParameterError(`format must be json, { schema } or { grammar }, got ${show(format)}`);
  const kind = 'schema' in format ? 'schema' : 'grammar';
  checkKnown('format', format, [kind], (other) => `format has no '${other}' beside ${kind}`);
  const text = 'schema' in format ? grammarOf(format.schema) : short('grammar', format.grammar);
  const states = statesOfGrammar(text);
  if (states <= MOST_STATES) return { kind, text };
  throw new ParameterError(
    `${kind} of format must have at most ${MOST_STATES} states once its repetitions are written out, got about ${states}`,
  );
}

function grammarOf(schema: unknown): string {
  if (!isRecord(schema) && typeof schema !== 'boolean')
    throw new ParameterError(`schema of format must be an object or a boolean, got ${show(schema)}`);
  return schemaGrammar(JSON.parse(short('schema', jsonOf(schema))));
}

/** What has itself as a part, or too many parts within each other, has none. */
function jsonOf(schema: unknown): string {
  try {
    return JSON.stringify(schema);
  } catch (error) {
    throw new ParameterError(`schema of format must be JSON: ${reasonOf(error)}`);
  }
}

function short(name: string, text: unknown): string {
  if (typeof text !== 'string') throw new ParameterError(`${name} of format must be a text, got ${show(text)}`);
  if (text.length <= MOST_CHARACTERS) return text;
  throw new ParameterError(`${name} of format must have at most ${MOST_CHARACTERS} characters, got ${text.length}`);
}

/** Which tokens may come next in an answer. */
export interface Matcher {
  /** A bit for each token, 1 where it may come next. */
  allowed(): Promise<Int32Array>;
  /** Goes on behind a token that may come; whether the answer is complete, and nothing may follow. */
  accept(token: number): Promise<boolean>;
  dispose(): void;
}

/** Formats for the tokens of one model, in a worker, which is ended where one takes too long: others begin anew in the next. */
export class Grammars {
  readonly #worker: LimitedWorker;
  #count = 0;

  constructor(tokenizer: LanguageTokenizer, size: number, ends: readonly number[]) {
    let setup: GrammarSetup | undefined;
    const begin = () => {
      setup ??= { library: libraryPlace(), ...tokenizer.vocabulary(), size, ends };
      return { name: 'openGrammars', args: [setup] };
    };
    this.#worker = new LimitedWorker(languageWorker, begin);
  }

  /** Begins the worker, which takes seconds where the vocabulary is large, before it is needed; what fails is told by `matcher`. */
  prepare(): void {
    this.#worker.call('prepare', [], COMPILE_SECONDS).catch(() => {});
  }

  /** @throws {ParameterError | UnsupportedError} a grammar that is none or takes too much, the package missing */
  async matcher(format: FormatText): Promise<Matcher> {
    const worker = this.#worker;
    const id = this.#count++;
    const accepted: number[] = [];
    const begin = () => attempt(worker.call('match', [id, format, accepted], COMPILE_SECONDS));
    /** An answer that was in a worker that was ended begins anew. */
    const ask = async <Result>(name: string, ...args: readonly unknown[]): Promise<Result> => {
      for (;;) {
        const result = await attempt(worker.call<Result | undefined>(name, [id, ...args], MASK_SECONDS));
        if (result !== undefined) return result;
        await begin();
      }
    };
    await begin();
    return {
      allowed: () => ask('allowed'),
      async accept(token) {
        const isComplete = await ask<boolean>('accept', token);
        accepted.push(token);
        return isComplete;
      },
      dispose() {
        if (worker.isOpen) worker.call('drop', [id], MASK_SECONDS).catch(() => {});
      },
    };
  }

  dispose(): void {
    this.#worker.end();
  }
}

async function attempt<Result>(call: Promise<Result>): Promise<Result> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof UnsupportedError) throw error;
    throw new ParameterError(`format cannot be used: ${(error as Error).message}`);
  }
}

/** Where the package is: a file in Node; in a page the address that an import map gives it, as workers have none. */
function libraryPlace(): string {
  if (globalThis.process?.versions?.node !== undefined) {
    checkInstalled({ [PACKAGE]: 'format' });
    return resolvePackage(PACKAGE) as string;
  }
  for (const { textContent } of Array.from(globalThis.document?.querySelectorAll('script[type=importmap]') ?? [])) {
    const address = JSON.parse(textContent ?? '{}').imports?.[PACKAGE];
    if (address) return new URL(address, document.baseURI).href;
  }
  throw new UnsupportedError(`format needs the package ${PACKAGE}: name it in an import map of the page`);
}
