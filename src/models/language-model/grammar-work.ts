/** Formats of answers as XGrammar has them, in a worker. */
import type * as Library from '@mlc-ai/web-xgrammar';
import { BoundedMap } from '../../bounded-map';
import { SpoilingError } from '../../workers/serve';

export interface GrammarSetup {
  /** Where the library is: a file in Node, an address in a page. */
  readonly library: string;
  /** By their ids, special ones as empty texts. */
  readonly tokens: readonly string[];
  readonly kind: string;
  /** How many logits there are. */
  readonly size: number;
  readonly ends: readonly number[];
}

/** A format as a grammar, that of a schema or of somebody; `any` is that of all JSON. */
export interface FormatText {
  readonly kind: 'any' | 'schema' | 'grammar';
  readonly text: string;
}

/** Compiled formats that are kept for answers to come. */
const KEPT = 16;
/** Tokens of nothing but white space in a row, after which another has to come where one may. */
const MOST_BLANK = 16;
const BLANK = /^(?:[ \t\r\nĠĊčĉ▁]|<0x(?:09|0A|0D|20)>)+$/;

interface Matching {
  readonly matcher: Library.GrammarMatcher;
  readonly isJson: boolean;
  blank: number;
}

let setup: GrammarSetup;
let library: typeof Library;
let compiler: Library.GrammarCompiler;
/** A bit for each token that is nothing but white space. */
let blanks: Int32Array;
let messages = '';
const compiled = new BoundedMap<string, Promise<Library.CompiledGrammar>>(KEPT);
const matchings = new Map<number, Matching>();

export const grammarFunctions = {
  async openGrammars(given: GrammarSetup): Promise<void> {
    setup = given;
    const { tokens, kind, size } = setup;
    library = load(setup.library);
    blanks = new Int32Array(Math.ceil(size / 32));
    for (const [token, text] of tokens.entries())
      if (BLANK.test(text)) blanks[token >> 5] = (blanks[token >> 5] as number) | (1 << (token & 31));
    const info = await library.TokenizerInfo.createTokenizerInfo([...tokens], kind, false, size);
    // Without its own cache, which only grows.
    compiler = await library.GrammarCompiler.createGrammarCompiler(info, false);
  },

  /** The first format takes longest, as the library's own code is compiled with it. */
  async prepare(): Promise<void> {
    await compiledOf({ kind: 'any', text: '' });
  },
  /** An answer that has these tokens already. */
  async match(id: number, format: FormatText, accepted: readonly number[]): Promise<void> {
    const { kind } = format;
    const grammar = await compiledOf(format);
    const isOpen = setup.ends.length === 0;
    const ends = isOpen ? undefined : [...setup.ends];
    const matcher = await library.GrammarMatcher.createGrammarMatcher(grammar, ends, isOpen);
    matchings.set(id, { matcher, isJson: kind !== 'grammar', blank: 0 });
    for (const token of accepted) accept(id, token);
  },

  /** A bit for each token, 1 where it may come next. Undefined if there is no such answer. */
  async allowed(id: number): Promise<Int32Array | undefined> {
    const matching = matchings.get(id);
    if (!matching) return undefined;
    const bits = await matching.matcher.getNextTokenBitmask();
    if (!matching.isJson || matching.blank < MOST_BLANK) return bits;
    const others = bits.map((word, at) => word & ~(blanks[at] as number));
    return others.some((word) => word !== 0) ? others : bits;
  },

  accept,

  drop(id: number): void {
    matchings.get(id)?.matcher.dispose();
    matchings.delete(id);
  },
};

/** Goes on behind a token; whether the answer is complete, and nothing may follow. Undefined if there is no such answer. */
function accept(id: number, token: number): boolean | undefined {
  const matching = matchings.get(id);
  if (!matching) return undefined;
  const isBlank = ((blanks[token >> 5] as number) >> (token & 31)) & 1;
  matching.blank = isBlank ? matching.blank + 1 : 0;
  matching.matcher.acceptToken(token);
  return matching.matcher.isTerminated();
}

function compiledOf(format: FormatText): Promise<Library.CompiledGrammar> {
  return compiled.get(`${format.kind} ${format.text}`, () => compile(format)).catch(spoilt);
}

function compile({ kind, text }: FormatText): Promise<Library.CompiledGrammar> {
  messages = '';
  return kind === 'any' ? compiler.compileBuiltinJSONGrammar() : compiler.compileGrammar(text);
}

/** It aborts instead of throwing, and what it holds is lost. */
function spoilt(error: Error): never {
  throw new SpoilingError(/\.cc:\d+: (.*)/.exec(messages)?.[1] ?? error.message);
}

/** As the script that it is, though its package.json calls it a module; what looks like a page keeps it from Node's modules. */
function load(from: string): typeof Library {
  const node = globalThis.process?.getBuiltinModule;
  if (!node) {
    const scope = globalThis as unknown as { importScripts(url: string): void; xgrammar: typeof Library };
    scope.importScripts(from);
    return scope.xgrammar;
  }
  const exports = {} as typeof Library;
  const say = (...words: readonly unknown[]) => {
    messages += `${words.join(' ')}\n`;
  };
  const console = { log: say, warn: say, error: say };
  const values = { exports, module: { exports }, process: undefined, location: { href: '' }, console };
  const source = node('node:fs').readFileSync(from, 'utf8');
  new Function(...Object.keys(values), source)(...Object.values(values));
  return exports;
}
