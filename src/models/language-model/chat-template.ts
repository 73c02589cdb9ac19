/** Chat templates in Jinja, as the configurations of tokenizers have them. */
import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import { checkArray, checkRecord, show } from '../../check';
import { ParameterError, ParseError } from '../../errors';

export interface ChatMessage {
  /** Such as system, user or assistant. */
  readonly role: string;
  readonly content: string;
}

export interface ChatTemplate {
  /** The prompt of a conversation, which ends where the answer begins. */
  render(messages: readonly ChatMessage[], more?: Readonly<Record<string, unknown>>): string;
}

/** What a template may do: expressions and statements evaluated, seconds that they take, and characters of the result. */
const [MOST_STEPS, MOST_SECONDS, MOST_CHARACTERS] = [300_000, 5, 16_000_000];

/** Ends templates that loop. */
class BoundedInterpreter extends Interpreter {
  #steps = 0;
  readonly #end = performance.now() + 1000 * MOST_SECONDS;

  override evaluate(...args: Parameters<Interpreter['evaluate']>): ReturnType<Interpreter['evaluate']> {
    if (++this.#steps > MOST_STEPS) throw new Error(`it takes more than ${MOST_STEPS.toLocaleString('en')} steps`);
    // A loop of loops over a long list evaluates little, and takes long.
    if (performance.now() > this.#end) throw new Error(`it takes more than ${MOST_SECONDS} seconds`);
    return super.evaluate(...args);
  }
}

/**
 * A template with the special tokens that it may name, such as `bos_token`.
 *
 * @throws {ParseError} a template that is no Jinja
 */
export function chatTemplate(source: string, tokens: Readonly<Record<string, string>> = {}): ChatTemplate {
  if (typeof source !== 'string') throw new ParameterError(`source must be a string, got ${show(source)}`);
  checkRecord('tokens', tokens);
  for (const [name, token] of Object.entries(tokens))
    if (typeof token !== 'string') throw new ParameterError(`${name} of tokens must be a string, got ${show(token)}`);
  const program = attempt('parsed', () => parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true })));
  return {
    render(messages, more = {}) {
      checkMessages(messages);
      return attempt('rendered', () => {
        const environment = new Environment();
        const names = { ...GLOBALS, ...tokens, add_generation_prompt: true, ...more, messages };
        for (const [name, value] of Object.entries(names)) environment.set(name, value);
        const { value } = new BoundedInterpreter(environment).run(program) as { readonly value: string };
        if (value.length > MOST_CHARACTERS) throw new Error('the prompt is longer than 16 million characters');
        return value;
      });
    },
  };
}

/** @throws {ParameterError} anything but a list of messages, and which */
export function checkMessages(messages: readonly ChatMessage[]): void {
  checkArray('messages', messages);
  if (messages.length === 0) throw new ParameterError('messages must be one at least, got an empty list');
  for (const [at, message] of messages.entries()) {
    checkRecord(`messages[${at}]`, message);
    for (const name of ['role', 'content'] as const)
      if (typeof message[name] !== 'string')
        throw new ParameterError(`${name} of messages[${at}] must be a string, got ${show(message[name])}`);
  }
}

const GLOBALS = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  raise_exception(message: string) {
    throw new Error(`the template refuses it: ${message}`);
  },
  range(...args: number[]) {
    const [start = 0, stop = 0, step = 1] = args.length === 1 ? [0, args[0]] : args;
    const count = Math.ceil((stop - start) / step);
    if (!(count <= MOST_STEPS)) throw new Error(`range() of ${count} is too long`);
    return Array.from({ length: Math.max(0, count) }, (_, at) => start + at * step);
  },
  strftime_now: (format: string) => formatDate(new Date(), format),
};

function formatDate(date: Date, format: string): string {
  const part = (options: Intl.DateTimeFormatOptions) => date.toLocaleDateString('en', options);
  const two = (value: number) => String(value).padStart(2, '0');
  const parts: Readonly<Record<string, string>> = {
    '%Y': String(date.getFullYear()),
    '%m': two(date.getMonth() + 1),
    '%d': two(date.getDate()),
    '%H': two(date.getHours()),
    '%M': two(date.getMinutes()),
    '%S': two(date.getSeconds()),
    '%B': part({ month: 'long' }),
    '%b': part({ month: 'short' }),
    '%A': part({ weekday: 'long' }),
    '%a': part({ weekday: 'short' }),
  };
  return format.replace(/%[A-Za-z]/g, (code) => parts[code] ?? code);
}

function attempt<T>(what: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw new ParseError(`the chat template cannot be ${what}: ${(error as Error).message}`);
  }
}
