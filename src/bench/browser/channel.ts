import type { ServerResponse } from 'node:http';
import type { Answer, Question, QuestionName, Questions } from './protocol';

/** How long a page may be without a connection before it counts as gone, in milliseconds. */
const GRACE = 1000;

interface Asked {
  readonly question: Question;
  sent: boolean;
  settle(answer: Answer): void;
}

/** The benchmark's end of what it asks a page, which may be yet to come. */
export class Channel {
  #page: ServerResponse | undefined;
  #asked = new Map<number, Asked>();
  #count = 0;
  #end: string | undefined;

  constructor(
    readonly path: string,
    readonly onEnd: () => void,
  ) {}

  /** Rejects with what the page says, with why it ended, or with the reason of the signal, which the page does not hear. */
  ask<Q extends QuestionName>(
    question: Q,
    ask: Questions[Q]['ask'],
    signal: AbortSignal,
  ): Promise<Questions[Q]['answer']> {
    const id = ++this.#count;
    return new Promise((resolve, reject) => {
      const forget = () => {
        signal.removeEventListener('abort', abort);
        this.#asked.delete(id);
      };
      const abort = () => {
        forget();
        reject(signal.reason);
      };
      if (signal.aborted) return abort();
      if (this.#end !== undefined) return reject(new Error(this.#end));
      signal.addEventListener('abort', abort);
      const settle = (answer: Answer) => {
        forget();
        if ('error' in answer) reject(new Error(answer.error));
        else resolve(answer.value as Questions[Q]['answer']);
      };
      this.#asked.set(id, { question: { id, question, ask }, sent: false, settle });
      this.#send();
    });
  }

  /** Takes what a page sent; false if nobody had asked. */
  answer(id: number, answer: Answer): boolean {
    const asked = this.#asked.get(id);
    asked?.settle(answer);
    return asked !== undefined;
  }

  /** Makes a response the way to the page. What an earlier one was asked will not be answered. */
  connect(response: ServerResponse): void {
    for (const { sent, settle } of this.#asked.values()) if (sent) settle({ error: 'its page was loaded anew' });
    this.#page = response;
    response.once('close', () => {
      if (this.#page !== response) return;
      this.#page = undefined;
      setTimeout(() => this.#page ?? this.end('its page was closed'), GRACE).unref();
    });
    this.#send();
  }

  /** All questions, also later ones, are answered with the reason; the first reason counts. */
  end(reason: string): void {
    if (this.#end !== undefined) return;
    this.#end = reason;
    for (const { settle } of this.#asked.values()) settle({ error: reason });
    this.#page?.end();
    this.onEnd();
  }

  #send(): void {
    for (const asked of this.#page ? this.#asked.values() : []) {
      if (asked.sent) continue;
      asked.sent = true;
      this.#page?.write(`data: ${JSON.stringify(asked.question)}\n\n`);
    }
  }
}
