/** The messages between the benchmark and a page; the page answers one question at a time. */
import type { Machine } from '../../machine';
import type { RuntimeOptions } from '../../ops/create-runtime';
import type { BenchBackend } from '../options';
import type { MaskName } from '../problem';
import type { TrainingName } from '../trainings';

/** What a page is asked to prepare: Saccade or a peer, and a problem, whose inputs it generates itself. */
export interface Opening {
  /** The peer's module; undefined for Saccade itself. */
  readonly peer?: string | undefined;
  readonly backend: BenchBackend;
  readonly threads: number;
  /** Which build of Saccade's wasm kernels; default: the runtime's choice. */
  readonly simd?: RuntimeOptions['simd'] | undefined;
  /** The training a step of which is the problem, instead of attention. */
  readonly training?: TrainingName | undefined;
  readonly problem: { readonly n: number; readonly h: number; readonly d: number; readonly mask: MaskName };
}

/** What a browser is and offers. */
export interface PageFacts {
  readonly machine: Machine;
  /** One fact a line. */
  readonly facts: readonly string[];
  /** Whether the GPU is emulated in software; undefined without WebGPU. */
  readonly softwareGpu?: boolean | undefined;
}

/** Each question with what it takes and what its answer holds. */
export interface Questions {
  /** Takes the options of Saccade's wasm runtime. */
  describe: { ask: RuntimeOptions; answer: PageFacts };
  open: { ask: Opening; answer: { readonly threads?: number | undefined } };
  /** Milliseconds of one call. */
  time: { ask: { readonly calls: number }; answer: number };
  result: { ask: object; answer: Float32Array };
  /** Bytes; undefined where the page cannot tell. */
  memory: { ask: object; answer: number | undefined };
  /** To the page in a user's browser: show a page in a frame, or take it away. */
  show: { ask: { readonly id: string; readonly path: string }; answer: undefined };
  hide: { ask: { readonly id: string }; answer: undefined };
}
export type QuestionName = keyof Questions;

/** As it travels. */
export type Question = { readonly id: number; readonly question: QuestionName; readonly ask: unknown };
/** As it travels; an array of floats travels as bytes instead. */
export type Answer = { readonly value?: unknown } | { readonly error: string };
