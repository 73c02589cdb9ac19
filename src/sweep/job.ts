/** A job: one case of the command line, for one build. Its id follows from these, so that it exists once. */
import * as valibot from 'valibot';
import { ParseError } from '../errors';
import { sha256 } from '../weights/sha256';

/**
 * What a worker must have, and the part of a job's subject that says so. Cases of `page-cpu` and `page-webgpu` can run in a page too,
 * the others need Node.
 */
export const NEEDS = ['cpu', 'webgpu', 'page-cpu', 'page-webgpu'] as const;
export type Needs = (typeof NEEDS)[number];

/** A case of bench, reproduce or quality. */
export interface Case {
  /** The words of its command after `saccade`, as the command's own parser writes them. */
  readonly words: readonly string[];
  readonly needs: Needs;
}

export interface Job {
  readonly words: readonly string[];
  /** The build that must run it. */
  readonly build: string;
  /** The machine that it is for, by its name; default: whichever is free. */
  readonly only?: string | undefined;
}

const word = valibot.pipe(valibot.string(), valibot.maxLength(2000));

export const jobEntries = {
  words: valibot.pipe(valibot.array(word), valibot.minLength(2), valibot.maxLength(64)),
  build: valibot.pipe(valibot.string(), valibot.minLength(1), valibot.maxLength(100)),
  only: valibot.exactOptional(valibot.pipe(valibot.string(), valibot.minLength(1), valibot.maxLength(100))),
};

/** 128 bits of a hash of what it is, in hexadecimal. */
export function idOf({ build, words, only }: Job): string {
  return hashOf(JSON.stringify([build, ...(only === undefined ? [] : [{ only }]), ...words])).slice(0, 32);
}

/** How subjects and consumers name a build, or a machine. */
export const tokenOf = (name: string): string => hashOf(name).slice(0, 16);

/** @throws {ParseError} what is no job, or not the job of that id */
export function parseJob(id: string, bytes: Uint8Array): Job {
  const { success, output } = valibot.safeParse(valibot.strictObject(jobEntries), parseJson(bytes));
  if (!success || idOf(output) !== id) throw new ParseError(`job ${id} of the queue is no job of saccade sweep`);
  return output;
}

/** What bytes of JSON hold; undefined if they are none. */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}

function hashOf(text: string): string {
  const hash = sha256();
  hash.update(new TextEncoder().encode(text));
  return hash.digest('hex');
}
