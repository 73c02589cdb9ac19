import type { ServerResponse } from 'node:http';
import type { Answer, Question, QuestionName, Questions } from './protocol';

/** Milliseconds without a connection after which a page counts as gone. */
const GRACE = 1000;

interface Asked {
  readonly question: Question;
  sent: boolean;
  settle(answer: Answer): void;
}

/** The benchmark's end of the connection to a page, which may not be open yet. */
export class Channel {
  #page: ServerResponse | undefined;
  #asked = new Map<number, Asked>();
  #count = 0;
  #end: string | undefined;

  constructor(
    readonly path: string,
    readonly onEnd: () => void,
  ) {}

  /** Rejects with the page's error, the reason why it ended, or that of the signal, which the page does not get. */
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

  /** Takes what a page sent; false if there was no such question. */
  answer(id: number, answer: Answer): boolean {
    const asked = this.#asked.get(id);
    asked?.settle(answer);
    return asked !== undefined;
  }

  /** Sends questions by this response from now on. Those sent by an earlier one will not be answered. */
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

  /** Answers all questions, including later ones, with the reason; the first reason counts. */
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
