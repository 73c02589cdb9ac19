/** Chat templates in Jinja, in a worker. */
import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import type { ChatMessage } from './chat-template';

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
    const result = super.evaluate(...args);
    const length = (result.value as { readonly length?: number } | undefined)?.length;
    if (length !== undefined && length > MOST_CHARACTERS)
      throw new Error('a text of it has more than 16 million characters');
    return result;
  }
}

let program: ReturnType<typeof parse>;
let tokens: Readonly<Record<string, string>>;

export const templateFunctions = {
  openTemplate(source: string, special: Readonly<Record<string, string>>): void {
    program = attempt('parsed', () => parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true })));
    tokens = special;
  },

  render(messages: readonly ChatMessage[], more: Readonly<Record<string, unknown>>): string {
    return attempt('rendered', () => {
      const environment = new Environment();
      const names = { ...GLOBALS, ...tokens, add_generation_prompt: true, ...more, messages };
      for (const [name, value] of Object.entries(names)) environment.set(name, value);
      const { value } = new BoundedInterpreter(environment).run(program) as { readonly value: string };
      return value;
    });
  },
};

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
    throw new Error(`cannot be ${what}: ${(error as Error).message}`);
  }
}
