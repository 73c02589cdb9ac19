import { createInterface } from 'node:readline/promises';
import { Command } from 'commander';
import type { ChatMessage, LanguageModel, Prompt } from '../models';
import {
  type AnswerOptions,
  answerOptions,
  DEFAULT_MODEL,
  exactText,
  generateOptions,
  type LanguageOptions,
  languageOptions,
  speedText,
  withLanguageModel,
} from './language';

interface Options extends LanguageOptions, AnswerOptions {
  readonly system?: string;
}

const HELP = `  /system TEXT  what the model is told first; begins anew
  /clear        begin anew
  /undo         take the last message and its answer back
  /retry        answer the last message once more, with another seed
  /history      what was said
  /quit         end; so does Ctrl-D. Ctrl-C ends an answer`;

export function chatCommand(): Command {
  return answerOptions(languageOptions(new Command('chat').option('--system <text>', 'what the model is told first')))
    .addHelpText('after', `\nWithin a conversation:\n${HELP}`)
    .action((options: Options) => withLanguageModel(options, (model) => chat(model, options, process)));
}

interface Streams {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
}

/** A conversation, or, without a chat template, a text that both continue. */
class Conversation {
  #messages: ChatMessage[] = [];
  #seed: number;

  constructor(
    private readonly model: LanguageModel,
    private system: string | undefined,
    seed: number,
  ) {
    this.#seed = seed;
  }

  get prompt(): Prompt {
    if (!this.model.tokenizer?.template) return this.history;
    const first = this.system === undefined ? [] : [{ role: 'system', content: this.system }];
    return [...first, ...this.#messages];
  }

  get history(): string {
    if (!this.model.tokenizer?.template) return `${this.system ?? ''}${this.#messages.map((m) => m.content).join('')}`;
    return this.#messages.map(({ role, content }) => `${role}: ${content}`).join('\n');
  }

  /** Another one for each answer. */
  get seed(): number {
    return this.#seed++;
  }

  say(role: 'user' | 'assistant', content: string): void {
    this.#messages.push({ role, content });
  }

  clear(system = this.system): void {
    this.system = system;
    this.#messages = [];
  }

  /** Takes back what was said since the last message of that role, it too with `itself`; whether there was any. */
  back(itself: boolean): boolean {
    const at = this.#messages.findLastIndex(({ role }) => role === 'user');
    if (at >= 0) this.#messages.splice(at + Number(!itself));
    return at >= 0;
  }
}

/** Until its input ends, or `/quit`. */
export async function chat(
  model: LanguageModel,
  options: AnswerOptions & Pick<Options, 'model' | 'system'>,
  { stdin, stdout, stderr }: Streams,
): Promise<void> {
  const conversation = new Conversation(model, options.system, options.seed ?? 0);
  const lines = createInterface({ input: stdin, ...(stdin.isTTY && { output: stdout }), prompt: '> ' });
  let answering: AbortController | undefined;
  // With a terminal, Ctrl-C comes to its reader; without one it is a signal, which ends the process as ever.
  lines.on('SIGINT', () => (answering ? answering.abort() : lines.close()));
  const template = model.tokenizer?.template;
  const kind = template
    ? 'It answers'
    : options.model === undefined
      ? 'It answers no questions: it continues what you write in the style of Moby Dick, the King James Bible and old speeches'
      : 'It has no chat template and continues what you write';
  stderr.write(`${options.model ?? DEFAULT_MODEL}: ${model.context} tokens of context. ${kind}; /help tells more.\n`);

  const answer = async () => {
    answering = new AbortController();
    const { signal } = answering;
    let text = '';
    try {
      const { seed } = conversation;
      const generation = model.generate(conversation.prompt, { ...generateOptions(options), seed, signal });
      for await (const piece of generation) {
        text += piece.text;
        stdout.write(piece.text);
      }
      stdout.write('\n');
      stderr.write(`(${speedText(generation.result)})\n`);
      stderr.write(exactText(model, generation.result.promptTokens + generation.result.tokens.length));
    } catch (error) {
      stdout.write('\n');
      if (!signal.aborted) stderr.write(`${(error as Error).message}\n`);
    } finally {
      answering = undefined;
      conversation.say('assistant', text);
    }
  };

  /** Whether the conversation goes on. */
  const command = async (line: string): Promise<boolean> => {
    const [name = '', ...words] = line.trim().split(' ');
    switch (name) {
      case '/quit':
        return false;
      case '/clear':
        conversation.clear();
        return true;
      case '/system':
        conversation.clear(words.join(' '));
        return true;
      case '/undo':
        conversation.back(true);
        return true;
      case '/retry':
        if (conversation.back(false)) await answer();
        return true;
      case '/history':
        stdout.write(`${conversation.history}\n`);
        return true;
      case '/help':
        stderr.write(`${HELP}\n`);
        return true;
      default:
        stderr.write(`${name} is no command; /help lists them\n`);
        return true;
    }
  };

  let isOpen = true;
  lines.on('close', () => {
    isOpen = false;
  });
  lines.prompt();
  for await (const line of lines) {
    if (line.startsWith('/')) {
      if (!(await command(line))) break;
    } else if (line.trim() !== '') {
      conversation.say('user', line);
      await answer();
    }
    // Its input may have ended while lines were waiting.
    if (isOpen) lines.prompt();
  }
  lines.close();
}
