/** What keeps answers to JSON, to a JSON schema or to a grammar: by the package @mlc-ai/web-xgrammar, which is loaded on first use. */
import type * as Library from '@mlc-ai/web-xgrammar';
import { checkKnown, isRecord, show } from '../../check';
import { ParameterError, UnsupportedError } from '../../errors';
import { checkInstalled, resolvePackage } from '../../packages';
import type { LanguageTokenizer } from './tokenizer';

/** Any JSON, JSON as a schema describes it, or texts of a grammar in EBNF, whose rule `root` is the whole. */
export type AnswerFormat = 'json' | { readonly schema: unknown } | { readonly grammar: string };

const PACKAGE = '@mlc-ai/web-xgrammar';
/** Schemas are unrolled by their counts, so larger ones would take minutes. */
const [MOST_CHARACTERS, MOST_REPEATS] = [65_536, 4096];
const COUNTS = /"(?:min|max)(?:Length|Items|Properties|Contains)":(\d+)/g;
const REPEATS = /\{(\d+)(?:,(\d*))?\}/g;

/** @throws {ParameterError} a format that is none of these, or larger than is computed */
export function checkFormat(format: AnswerFormat): void {
  if (format === 'json') return;
  const isOne = isRecord(format) && ('schema' in format || 'grammar' in format);
  if (!isOne) throw new ParameterError(`format must be json, { schema } or { grammar }, got ${show(format)}`);
  const [name] = 'schema' in format ? ['schema'] : ['grammar'];
  checkKnown('format', format, [name as string], (other) => `format has no '${other}' beside ${name}`);
  const text = textOf(format);
  if (text.length > MOST_CHARACTERS)
    throw new ParameterError(`${name} of format must have at most ${MOST_CHARACTERS} characters, got ${text.length}`);
  const counts = [...text.matchAll(COUNTS), ...text.matchAll(REPEATS)].flatMap(([, ...numbers]) => numbers.map(Number));
  const most = Math.max(...counts.filter(Number.isFinite));
  if (most > MOST_REPEATS)
    throw new ParameterError(`${name} of format may repeat things up to ${MOST_REPEATS} times, got ${most}`);
}

function textOf(format: Exclude<AnswerFormat, 'json'>): string {
  if ('grammar' in format) {
    if (typeof format.grammar === 'string') return format.grammar;
    throw new ParameterError(`grammar of format must be a text, got ${show(format.grammar)}`);
  }
  const { schema } = format;
  if (!isRecord(schema) && typeof schema !== 'boolean')
    throw new ParameterError(`schema of format must be an object or a boolean, got ${show(schema)}`);
  return JSON.stringify(schema);
}

/** Which tokens may come next in an answer. */
export interface Matcher {
  /** A bit for each token, 1 where it may come next. */
  allowed(): Promise<Int32Array>;
  /** Goes on behind a token that may come. */
  accept(token: number): void;
  /** Whether the answer is complete, and nothing may follow. */
  readonly isComplete: boolean;
  dispose(): void;
}

interface Loaded {
  readonly library: typeof Library;
  /** What it has said since it was asked, as it aborts instead of throwing. */
  takeMessages(): string;
}

/** Formats for the tokens of one model. */
export class Grammars {
  #compiler: Promise<Loaded & { readonly compiler: Library.GrammarCompiler }> | undefined;

  constructor(
    private readonly tokenizer: LanguageTokenizer,
    private readonly vocabulary: number,
    private readonly ends: readonly number[],
  ) {}

  /** @throws {ParameterError | UnsupportedError} a schema or a grammar that is none, the package missing */
  async matcher(format: AnswerFormat): Promise<Matcher> {
    this.#compiler ??= this.#load();
    const { compiler, library, takeMessages } = await this.#compiler.catch((error) => {
      this.#compiler = undefined;
      throw error;
    });
    let compiled: Library.CompiledGrammar;
    try {
      compiled = await compiledBy(compiler, format);
    } catch (error) {
      // It has aborted, and what it holds is lost.
      this.#compiler = undefined;
      const said = /\.cc:\d+: (.*)/.exec(takeMessages())?.[1] ?? (error as Error).message;
      throw new ParameterError(`format cannot be used: ${said}`);
    }
    const isOpen = this.ends.length === 0;
    const ends = isOpen ? undefined : [...this.ends];
    const matcher = await library.GrammarMatcher.createGrammarMatcher(compiled, ends, isOpen);
    return {
      allowed: () => matcher.getNextTokenBitmask(),
      accept: (token) => void matcher.acceptToken(token),
      get isComplete() {
        return matcher.isTerminated();
      },
      dispose() {
        matcher.dispose();
        compiled.dispose();
      },
    };
  }

  async #load() {
    const loaded = await load();
    const { kind, tokens } = this.tokenizer.vocabulary();
    const { GrammarCompiler, TokenizerInfo } = loaded.library;
    const info = await TokenizerInfo.createTokenizerInfo([...tokens], kind, false, this.vocabulary);
    return { ...loaded, compiler: await GrammarCompiler.createGrammarCompiler(info) };
  }
}

function compiledBy(compiler: Library.GrammarCompiler, format: AnswerFormat): Promise<Library.CompiledGrammar> {
  if (format === 'json') return compiler.compileBuiltinJSONGrammar();
  const text = textOf(format);
  return 'schema' in format ? compiler.compileJSONSchema(text) : compiler.compileGrammar(text);
}

/** In Node anew at each call; a page has one, which an import map names or the page has imported. */
async function load(): Promise<Loaded> {
  if (globalThis.process?.versions?.node !== undefined) return loadInNode();
  // Not a literal, so that bundlers for browsers leave it alone.
  const name = PACKAGE;
  const global = globalThis as { xgrammar?: typeof Library };
  try {
    if (!global.xgrammar) await import(/* webpackIgnore: true */ /* @vite-ignore */ name);
  } catch (error) {
    throw new UnsupportedError(
      `format needs the package ${PACKAGE}: name it in an import map, or import it before (${(error as Error).message})`,
    );
  }
  return { library: global.xgrammar as typeof Library, takeMessages: () => '' };
}

/** As a script, which it is, though its package.json calls it a module; what looks like a page keeps it from Node's modules. */
function loadInNode(): Loaded {
  checkInstalled({ [PACKAGE]: 'format' });
  const { readFileSync } = process.getBuiltinModule('node:fs');
  const exports = {} as typeof Library;
  let messages = '';
  const say = (...words: readonly unknown[]) => {
    messages += `${words.join(' ')}\n`;
  };
  const console = { log: say, warn: say, error: say };
  const values = { exports, module: { exports }, process: undefined, location: { href: '' }, console };
  const source = readFileSync(resolvePackage(PACKAGE) as string, 'utf8');
  new Function(...Object.keys(values), source)(...Object.values(values));
  const takeMessages = () => {
    const taken = messages;
    messages = '';
    return taken;
  };
  return { library: exports, takeMessages };
}
