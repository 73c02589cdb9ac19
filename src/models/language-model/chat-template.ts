/** Chat templates in Jinja, as the configurations of tokenizers have them. */
import { checkArray, checkRecord, show } from '../../check';
import { ParameterError, ParseError } from '../../errors';
import { LimitedWorker } from '../../workers/limited';
import { languageWorker } from './language-worker';

export interface ChatMessage {
  /** Such as system, user or assistant. */
  readonly role: string;
  readonly content: string;
}

export interface ChatTemplate {
  /**
   * The prompt of a conversation, which ends where the answer begins; `more` are values by the names that a template may use.
   * Rejects with a `ParseError` for a template that is no Jinja, or that takes too long.
   */
  render(messages: readonly ChatMessage[], more?: Readonly<Record<string, unknown>>): Promise<string>;
}

/** What a conversation may take to render, and a template to parse. */
const MOST_SECONDS = 5;

/**
 * A template with the special tokens that it may name, such as `bos_token`. It is parsed and rendered in a worker, as it may be
 * hostile.
 */
export function chatTemplate(source: string, tokens: Readonly<Record<string, string>> = {}): ChatTemplate {
  if (typeof source !== 'string') throw new ParameterError(`source must be a string, got ${show(source)}`);
  checkRecord('tokens', tokens);
  for (const [name, token] of Object.entries(tokens))
    if (typeof token !== 'string') throw new ParameterError(`${name} of tokens must be a string, got ${show(token)}`);
  const worker = new LimitedWorker(languageWorker, () => ({ name: 'openTemplate', args: [source, tokens] }));
  return {
    async render(messages, more = {}) {
      checkMessages(messages);
      try {
        return await worker.call<string>('render', [messages, more], MOST_SECONDS);
      } catch (error) {
        const { message } = error as Error;
        throw new ParseError(
          `the chat template ${message.startsWith('cannot') ? message : `cannot be used: ${message}`}`,
        );
      }
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
