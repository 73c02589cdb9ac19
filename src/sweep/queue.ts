/**
 * A sweep on a NATS server with JetStream: a stream of jobs, each gone once it is done, and a stream of what came of them. It is the
 * same in Node and in a page, which differ in how they connect.
 */
import {
  type Consumer,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
  jetstream,
  jetstreamManager,
} from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/nats-core';
import * as valibot from 'valibot';
import { BackendError, SaccadeError, UnsupportedError } from '../errors';
import { printable } from '../text/printable';
import { reasonOf } from '../text/reason';
import { type Case, idOf, type Job, jobEntries, NEEDS, type Needs, parseJob, parseJson, tokenOf } from './job';
import { type Outcome, parseOutcome } from './outcome';

/** The place of a machine's name in the subjects of jobs that any may do. */
const ANY = 'any';
/** Seconds without a sign of life after which a job goes to another worker, unless who submits it says otherwise. */
export const PATIENCE = 30;
/** How often a job is begun before it is given up. */
const MOST_TRIES = 3;
/** The JetStream API's numbers for what is looked at here. */
const CODES = { noStream: 10059, noConsumer: 10014, consumerExists: 10148, wrongSequence: 10071, notEnabled: 10039 };
/** While a server starts. */
const TEMPORARY = [10008];
/** Numbers for a stream, an account or a server whose storage is full. */
const FULL = [10023, 10028, 10047, 10077];
/** Milliseconds that a worker waits for the next job before it looks around. */
const TURN = 1000;
/** Messages that are read at once, and how long they are waited for, in milliseconds. */
const BATCH = 500;
const READ = 5000;
/** Milliseconds between attempts to reach a server that was there before, and for how long. */
const RETRY = { every: 500, atMost: 10 * 60_000 };

/** A job that was begun, by its last try. */
interface Begun {
  readonly id: string;
  readonly machine: string;
  readonly tries: number;
  readonly error?: string | undefined;
}

interface Submitted {
  readonly added: number;
  /** Submitted before, and not done yet. */
  readonly waiting: number;
  readonly done: number;
  /** Submitted before, and given up. */
  readonly failed: number;
}

/** What is in the streams. */
export interface SweepContent {
  readonly outcomes: readonly Outcome[];
  /** Jobs without an outcome that were begun. */
  readonly begun: readonly Begun[];
  /** Results that are not what a worker of this command stores. */
  readonly refused: number;
}

/** Jobs in the queue, done ones not counted. */
export interface Waiting {
  readonly build: string;
  readonly needs: Needs;
  /** The machine that they are for; default: any. */
  readonly only?: string | undefined;
  readonly jobs: number;
}

interface SubmitOptions {
  /** Seconds without a sign of life after which a job goes to another worker. */
  readonly ackWait: number;
  /** Also those that were given up. */
  readonly again?: boolean;
  /** Each of these measures every case; default: whichever is free measures it, once. */
  readonly machines?: readonly string[] | undefined;
}

const begunSchema = valibot.object({
  machine: valibot.pipe(valibot.string(), valibot.maxLength(100), valibot.transform(printable)),
  tries: valibot.pipe(valibot.number(), valibot.integer()),
  error: valibot.exactOptional(valibot.pipe(valibot.string(), valibot.maxLength(20_000), valibot.transform(printable))),
});

/** A consumer, and how often its jobs need a sign of life, in milliseconds. */
interface Source {
  readonly consumer: Consumer;
  readonly beat: number;
}

interface Next extends Pick<Source, 'beat'> {
  readonly message: JsMsg;
}

interface Taking extends Next {
  readonly id: string;
  readonly job: Job;
  readonly begun: Omit<Begun, 'id'>;
}

export class SweepQueue {
  readonly #js: JetStreamClient;
  /** By their names. */
  readonly #consumers = new Map<string, Source>();
  /** Which kind of job came last: there are probably more of it. */
  #turn = 0;

  private constructor(
    readonly sweep: string,
    readonly build: string,
    readonly connection: NatsConnection,
    readonly manager: JetStreamManager,
  ) {
    this.#js = jetstream(connection);
  }

  /** @throws {UnsupportedError} a server without JetStream */
  static async open(connection: NatsConnection, { sweep, build }: { readonly sweep: string; readonly build: string }) {
    const manager = await explained(() => jetstreamManager(connection)).catch((error) => {
      if (error.name !== 'JetStreamNotEnabled' && error.cause?.code !== CODES.notEnabled) throw error;
      throw new UnsupportedError(
        'the server has no JetStream, which keeps the jobs: start it with saccade sweep serve, or with nats-server --jetstream',
      );
    });
    return new SweepQueue(sweep, build, connection, manager);
  }

  /** Bytes of the largest message that the server takes, but for what is around a report in it. */
  get mostBytes(): number {
    return (this.connection.info?.max_payload ?? 2 ** 20) - 2 ** 14;
  }

  get #jobs() {
    return `saccade-${this.sweep}-jobs`;
  }

  get #results() {
    return `saccade-${this.sweep}-results`;
  }

  #jobSubject(needs: Needs, only: string | undefined, id: string, build = this.build): string {
    const machine = only === undefined ? ANY : tokenOf(only);
    return `saccade.${this.sweep}.job.${tokenOf(build)}.${needs}.${machine}.${id}`;
  }

  #subject(kind: 'result' | 'try', id: string): string {
    return `saccade.${this.sweep}.${kind}.${id}`;
  }

  #consumerName(needs: Needs, only: string | undefined): string {
    return [needs, tokenOf(this.build), ...(only === undefined ? [] : [tokenOf(only)])].join('-');
  }

  /**
   * Adds the jobs of these cases that are not there yet.
   *
   * @throws {BackendError} a server whose storage is full
   */
  async submit(cases: readonly Case[], { ackWait, again = false, machines }: SubmitOptions): Promise<Submitted> {
    return explained(async () => {
      const places = machines ?? [undefined];
      await this.#prepare(ackWait, [...new Set(cases.map(({ needs }) => needs))], places);
      const { outcomes } = await this.#content();
      const before = new Map(outcomes.map((outcome) => [idOf(outcome), outcome]));
      const counts = { added: 0, waiting: 0, done: 0, failed: 0 };
      for (const { words, needs, only } of places.flatMap((only) => cases.map((each) => ({ ...each, only })))) {
        const job: Job = { words, build: this.build, ...(only !== undefined && { only }) };
        const id = idOf(job);
        const earlier = before.get(id);
        if (earlier && (earlier.report || !again)) {
          counts[earlier.report ? 'done' : 'failed']++;
          continue;
        }
        if (earlier) await this.#forget(id);
        const isNew = await this.#publishFirst(this.#jobSubject(needs, only, id), job, `${id} ${earlier?.date ?? ''}`);
        counts[isNew ? 'added' : 'waiting']++;
      }
      return counts;
    });
  }

  /** Makes the streams, and a consumer for each kind of job and machine, unless they are there. */
  async #prepare(ackWait: number, kinds: readonly Needs[], places: readonly (string | undefined)[]): Promise<void> {
    await this.manager.streams.add({
      name: this.#jobs,
      subjects: [`saccade.${this.sweep}.job.>`],
      retention: 'workqueue',
      allow_direct: true,
      storage: 'file',
      discard: 'new',
    });
    await this.manager.streams.add({
      name: this.#results,
      subjects: [this.#subject('result', '*'), this.#subject('try', '*')],
      storage: 'file',
      discard: 'new',
      // The last try of each job. Of results there is one: it is written only where there is none.
      max_msgs_per_subject: 1,
    });
    for (const needs of kinds) for (const only of places) await this.#addConsumer(needs, only, ackWait * 1e9);
  }

  async #addConsumer(needs: Needs, only: string | undefined, ack_wait: number): Promise<void> {
    const name = this.#consumerName(needs, only);
    const added = this.manager.consumers.add(this.#jobs, {
      durable_name: name,
      ack_policy: 'explicit',
      filter_subject: this.#jobSubject(needs, only, '*'),
      // Tries are counted by those who begin them: a job that the server itself stops delivering would never have an outcome.
      max_deliver: -1,
      ack_wait,
    });
    await added.catch((error) => {
      if (codeOf(error) !== CODES.consumerExists) throw error;
      return this.manager.consumers.update(this.#jobs, name, { ack_wait });
    });
  }

  async #forget(id: string): Promise<void> {
    for (const kind of ['result', 'try'] as const)
      await this.manager.streams.purge(this.#results, { filter: this.#subject(kind, id) });
  }

  /** Publishes to a subject that has no message; false if it has one. */
  async #publishFirst(subject: string, value: unknown, msgID: string): Promise<boolean> {
    try {
      const expect = { lastSubjectSequence: 0 };
      const { duplicate } = await this.#js.publish(subject, JSON.stringify(value), { msgID, expect });
      return !duplicate;
    } catch (error) {
      if (codeOf(error) === CODES.wrongSequence) return false;
      throw error;
    }
  }

  /**
   * The next job of these kinds, begun by `machine`; undefined if none came within a second for each. Jobs that have an outcome, or
   * were begun too often, are taken off the queue on the way.
   */
  async take(kinds: readonly Needs[], machine: string, signal?: AbortSignal): Promise<TakenJob | undefined> {
    // What only this machine can do goes first.
    const places = [machine, undefined].flatMap((only) => kinds.map((needs) => [needs, only] as const));
    for (let at = 0; at < places.length; at++) {
      const turn = (this.#turn + at) % places.length;
      const next = await this.patiently(() => this.#next(...(places[turn] as (typeof places)[number])), signal);
      if (!next) continue;
      this.#turn = turn;
      return this.patiently(() => this.#begin(next, machine), signal);
    }
    if (this.#consumers.size === 0) await pause(TURN);
    return undefined;
  }

  async #next(needs: Needs, only: string | undefined): Promise<Next | undefined> {
    const name = this.#consumerName(needs, only);
    try {
      const source = this.#consumers.get(name) ?? (await this.#source(name));
      this.#consumers.set(name, source);
      const message = await source.consumer.next({ expires: TURN });
      return message ? { message, beat: source.beat } : undefined;
    } catch (error) {
      this.#consumers.delete(name);
      // Nothing was submitted for it yet.
      if (codeOf(error) !== CODES.noStream && codeOf(error) !== CODES.noConsumer) throw error;
      // A consumer can have been removed while jobs wait for it.
      const orphans =
        codeOf(error) === CODES.noConsumer ? await this.#subjects(this.#jobSubject(needs, only, '*')) : [];
      if (orphans.length > 0) await this.#addConsumer(needs, only, PATIENCE * 1e9);
      return undefined;
    }
  }

  async #source(name: string): Promise<Source> {
    const consumer = await this.#js.consumers.get(this.#jobs, name);
    const { config } = await consumer.info(true);
    return { consumer, beat: (config.ack_wait as number) / 1e6 / 3 };
  }

  async #begin({ message, beat }: Next, machine: string): Promise<TakenJob | undefined> {
    const id = message.subject.split('.').at(-1) as string;
    let job: Job;
    try {
      job = parseJob(id, message.data);
    } catch {
      // No command submitted it, so nobody waits for its outcome.
      message.term();
      return undefined;
    }
    if (await this.#latest(this.#subject('result', id))) {
      await message.ackAck();
      return undefined;
    }
    const earlier = valibot.safeParse(begunSchema, await this.#latest(this.#subject('try', id)));
    const before = earlier.success ? earlier.output : undefined;
    const taken = new TakenJob(this, { id, job, message, beat, begun: { machine, tries: (before?.tries ?? 0) + 1 } });
    if (taken.tries > MOST_TRIES) {
      const error = before?.error ?? `its worker on ${before?.machine} ended without an error, as if it was killed`;
      await taken.finish({ error, tries: MOST_TRIES });
      return undefined;
    }
    await this.note(id, { machine, tries: taken.tries });
    return taken;
  }

  /** The subjects of the jobs that match. */
  async #subjects(filter: string): Promise<string[]> {
    try {
      const { state } = await this.manager.streams.info(this.#jobs, { subjects_filter: filter });
      return Object.keys(state.subjects ?? {});
    } catch (error) {
      if (codeOf(error) !== CODES.noStream) throw error;
      return [];
    }
  }

  /** What the last message of a subject holds; undefined if there is none. */
  async #latest(subject: string): Promise<unknown> {
    const message = await this.manager.streams.getMessage(this.#results, { last_by_subj: subject });
    return message === null ? undefined : parseJson(message.data);
  }

  /** Stores how far a job's tries are. */
  async note(id: string, begun: Omit<Begun, 'id'>): Promise<void> {
    await this.#js.publish(this.#subject('try', id), JSON.stringify(begun));
  }

  /** Stores the outcome of a job that has none. */
  async store(id: string, outcome: Outcome): Promise<void> {
    await this.#publishFirst(this.#subject('result', id), outcome, `${id} ${outcome.date}`);
  }

  /** Everything that workers stored, checked. */
  async content(): Promise<SweepContent> {
    return explained(() => this.#content());
  }

  async #content(): Promise<SweepContent> {
    const outcomes = new Map<string, Outcome>();
    const begun: Begun[] = [];
    let refused = 0;
    for await (const { subject, data } of this.#messages()) {
      const [kind, id] = subject.split('.').slice(-2) as [string, string];
      if (kind === 'try') {
        const { success, output } = valibot.safeParse(begunSchema, parseJson(data));
        if (success) begun.push({ id, ...output });
        continue;
      }
      const outcome = parseOutcome(id, parseJson(data));
      if (outcome) outcomes.set(id, outcome);
      else refused++;
    }
    return { outcomes: [...outcomes.values()], begun: begun.filter(({ id }) => !outcomes.has(id)), refused };
  }

  async *#messages(): AsyncGenerator<JsMsg> {
    const { state } = await this.manager.streams.info(this.#results).catch((error) => {
      if (codeOf(error) !== CODES.noStream) throw error;
      throw new UnsupportedError(`there is no sweep '${this.sweep}' on the server: saccade sweep submit makes one`);
    });
    if (state.messages === 0) return;
    const consumer = await this.#js.consumers.get(this.#results);
    for (let pending = state.messages; pending > 0; ) {
      const messages = await consumer.fetch({ max_messages: Math.min(BATCH, pending), expires: READ });
      let read = 0;
      for await (const message of messages) {
        read++;
        pending = message.info.pending;
        yield message;
      }
      if (read === 0) return;
    }
  }

  /** Jobs in the queue, by build and kind; `running` is how many of them workers have. */
  async waiting(): Promise<{ readonly jobs: readonly Waiting[]; readonly running: number }> {
    return explained(async () => {
      const groups = new Map<string, number>();
      for (const subject of await this.#subjects(`saccade.${this.sweep}.job.>`)) {
        const group = subject.split('.').slice(0, -1).join('.');
        groups.set(group, (groups.get(group) ?? 0) + 1);
      }
      const jobs: Waiting[] = [];
      for (const [group, count] of groups) {
        const message = await this.manager.direct.getMessage(this.#jobs, { seq: 1, next_by_subj: `${group}.*` });
        // It may have been done meanwhile.
        if (!message) continue;
        const needs = NEEDS.find((each) => each === group.split('.').at(-2));
        const { success, output } = valibot.safeParse(valibot.object(jobEntries), parseJson(message.data));
        // What no command submitted is nobody's to wait for.
        if (!needs || !success || `${group}.*` !== this.#jobSubject(needs, output.only, '*', output.build)) continue;
        const only = output.only === undefined ? undefined : printable(output.only);
        jobs.push({ build: printable(output.build), needs, only, jobs: count });
      }
      let running = 0;
      if (groups.size > 0)
        for await (const { num_ack_pending } of this.manager.consumers.list(this.#jobs)) running += num_ack_pending;
      return { jobs, running };
    });
  }

  /**
   * Does what needs the server, again and again while that restarts.
   *
   * @throws {BackendError} a server that is full, or does not come back
   */
  async patiently<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const end = Date.now() + RETRY.atMost;
    for (;;) {
      signal?.throwIfAborted();
      try {
        return await explained(work);
      } catch (error) {
        if (error instanceof SaccadeError || this.connection.isClosed() || Date.now() > end) throw error;
      }
      await pause(RETRY.every);
    }
  }
}

/** A job in the hands of a worker. */
export class TakenJob {
  readonly #queue: SweepQueue;
  readonly #taking: Taking;

  constructor(queue: SweepQueue, taking: Taking) {
    this.#queue = queue;
    this.#taking = taking;
  }

  get job(): Job {
    return this.#taking.job;
  }

  /** How often it was begun, this time included. */
  get tries(): number {
    return this.#taking.begun.tries;
  }

  /** How often the server needs a sign of life, in milliseconds. */
  get beat(): number {
    return this.#taking.beat;
  }

  /** Tells the server that it is still being worked on. */
  working(): void {
    this.#taking.message.working();
  }

  /** Stores what came of it, and then takes it off the queue. */
  async finish(what: Pick<Outcome, 'report' | 'error'> & { readonly tries?: number }): Promise<void> {
    const { id, job, begun, message } = this.#taking;
    const outcome: Outcome = { ...job, ...begun, date: new Date().toISOString(), ...what };
    await this.#queue.patiently(() => this.#queue.store(id, outcome));
    // Should this get lost, the job is delivered once more, and its outcome found.
    await message.ackAck().catch(() => false);
  }

  /** Stores why it failed: for the next try, or for good if this was the last one; then it resolves to true. */
  async fail(error: string): Promise<boolean> {
    const { id, begun, message } = this.#taking;
    if (this.tries >= MOST_TRIES) {
      await this.finish({ error });
      return true;
    }
    await this.#queue.patiently(() => this.#queue.note(id, { ...begun, error }));
    message.nak();
    return false;
  }

  /** Gives it back; this does not count as a try. */
  async release(): Promise<void> {
    const { id, begun, message } = this.#taking;
    await this.#queue.note(id, { ...begun, tries: this.tries - 1 });
    message.nak();
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const codeOf = (error: unknown): number | undefined => (error instanceof JetStreamApiError ? error.code : undefined);

/** Does work; errors of the server that users can do something about say what. */
async function explained<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = codeOf(error) as number;
    if (FULL.includes(code))
      throw new BackendError(
        `the server's storage is full (${reasonOf(error)}): give it more, as by saccade sweep serve --limit, or remove streams that nobody needs`,
      );
    if (code !== undefined && !TEMPORARY.includes(code))
      throw new BackendError(`the server refused: ${reasonOf(error)}`, { cause: error });
    throw error;
  }
}
