/** The settings of a benchmark, and the command line that repeats it. */

import { MASK_NAMES as LONGCA_NAMES } from '../methods/sparse/longca/settings';
import type { RuntimeOptions } from '../ops/create-runtime';
import { shellCommand } from '../text/shell';
import type { DecoderShapeName, WeightType } from './decoder-file';
import { maskOf } from './longca/cases';
import { isKnownToPeers, MASK_NAMES, MASKS, named, type Problem } from './problem';

/** Where Saccade computes, and the peers that have a choice. */
export const BENCH_BACKENDS = ['wasm', 'webgpu'] as const;
export type BenchBackend = (typeof BENCH_BACKENDS)[number];

export interface BenchOptions {
  readonly backend: BenchBackend;
  readonly n: readonly number[];
  readonly d: readonly number[];
  /** Names from `BENCH_MASKS`. */
  readonly masks: readonly string[];
  readonly heads: number;
  /** Threads of contenders on the CPU. */
  readonly threads: number;
  /** Undefined for the build that the runtime chooses. */
  readonly simd?: RuntimeOptions['simd'] | undefined;
  /** Interleaved rounds. */
  readonly repeats: number;
  /** Tokens that there are before a step of a decoder. */
  readonly cached: readonly number[];
  /** The shape of a decoder, and the types of its weights. */
  readonly shape: DecoderShapeName;
  readonly types: readonly WeightType[];
  /** Few and short rows. */
  readonly quick: boolean;
  /** Seconds after which no further rows are begun. */
  readonly budget: number;
  /** Seconds after which a call is not waited for. */
  readonly limit: number;
  /** Calls in a row, where a suite counts what they leave behind. */
  readonly calls: number;
  readonly peers: boolean;
  /** A browser to measure instead: true for a headless Chromium, `wait` for any that connects, else its address. */
  readonly browser: boolean | string;
  /** Names of the rows wanted, beside the baseline; all if empty. */
  readonly only: readonly string[];
  /** Measure this process instead of a fresh one. */
  readonly inProcess: boolean;
}

type Described = [suite: string, options: Partial<BenchOptions>, defaults: Partial<BenchOptions>];

/** The command that runs a suite with these options, as it is typed. */
export function commandLine(...described: Described): string {
  return shellCommand(['saccade', ...commandWords(...described)]);
}

/**
 * Its words after the program's name. Options that the suite does not take, because it has no defaults for them, and those
 * with their default value are left out.
 */
export function commandWords(...[suite, options, defaults]: Described): string[] {
  const flags = (Object.keys(defaults) as (keyof BenchOptions)[]).flatMap((name) => {
    const value = options[name];
    if (value === undefined || String(value) === String(defaults[name])) return [];
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    return value === true ? [flag] : [flag, String(value)];
  });
  return ['bench', suite, ...flags];
}

/** Masks by name: those of LongCA-bench are drawn for the length. */
export const BENCH_MASKS: readonly string[] = [...new Set([...MASK_NAMES, ...LONGCA_NAMES])];

/** Every combination of the extents and masks. */
export function problemsOf({ n, d, masks, heads }: Pick<BenchOptions, 'n' | 'd' | 'masks' | 'heads'>): Problem[] {
  return d.flatMap((dim) =>
    masks.flatMap((name) =>
      n.map((extent) => {
        const mask = isKnownToPeers(name)
          ? MASKS[name]
          : named(name, maskOf({ mask: name, n: extent, h: heads, g: heads }));
        return { n: extent, h: heads, d: dim, mask };
      }),
    ),
  );
}

/** The options by which `problemsOf` gives this problem alone. */
export function optionsOf({ n, d, mask }: Problem): Pick<BenchOptions, 'n' | 'd' | 'masks'> {
  return { n: [n], d: [d], masks: [mask.name] };
}
