/** Which requests get a place, and when their work is done. */
import { deferred } from '../deferred';
import { nextTurn } from '../next-turn';
import { RefusedError, tooMuch } from './openai-requests';

export interface InterfaceOptions {
  /** What the model is called. */
  readonly name: string;
  /** Answers under way and waiting, at most; others are told to come back. */
  readonly queue: number;
  /** The longest that a request may take, in seconds. */
  readonly seconds: number;
  /** Aborted when the server ends. */
  readonly signal: AbortSignal;
}

/** A request that has its place in the queue. */
export interface Turn {
  /** Aborted once the client has left, the time is over, the server ends or the turn does. */
  readonly signal: AbortSignal;
  /** Takes further places. */
  take(places: number): void;
  /** Says what the response is, which may go on in this turn. */
  respond(response: Response): void;
}

/** Gives work a place of the queue; the first that it responds, or throws, is the response. */
export function turnsOf({ queue, seconds, signal: ending }: InterfaceOptions) {
  let underWay = 0;
  const take = (places: number) => {
    if (ending.aborted) throw isEnding();
    if (underWay + places > queue) throw tooMuch(`${underWay} answers are under way, of ${queue} at most (--queue)`);
    underWay += places;
  };
  return (client: AbortSignal, work: (turn: Turn) => Promise<void>): Promise<Response> => {
    take(1);
    let taken = 1;
    const over = new AbortController();
    const signal = AbortSignal.any([client, ending, AbortSignal.timeout(1000 * seconds), over.signal]);
    const { promise, resolve, reject } = deferred<Response>();
    const further = (places: number) => {
      take(places);
      taken += places;
    };
    work({ signal, respond: resolve, take: further })
      .catch((error) => reject(ending.aborted ? isEnding() : error))
      .finally(() => {
        underWay -= taken;
        over.abort();
      });
    return promise;
  };
}

export const isEnding = () => new RefusedError(503, 'the server is ending');

/** Does pieces of work one after the other, each in a turn of its own, so that others get theirs between. */
export function lineUp(): <T>(work: () => T | Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const done = last.then(nextTurn).then(work);
    last = done.catch(() => {});
    return done;
  };
}
