/** What `saccade reproduce` found: the JSON it writes, and how the terminal, the page and a method's README word it. */

import type { Finding, Judgement, Verdict } from '../experiments/experiment';
import { formatMachine, type Machine } from '../machine';
import type { Citation } from '../papers/find';
import { significant } from '../text/format';

/** What `saccade reproduce --json` writes. */
export interface Reproduction {
  readonly format: 'saccade reproduce';
  readonly version: 3;
  readonly command: string;
  readonly machine: Machine;
  /** What the runtime chose, a fact a line. */
  readonly runtime: readonly string[];
  readonly paper: Citation;
  readonly title: string;
  /** Sizes were small: what depends on them says little, and what depends on time is not judged. */
  readonly quick: boolean;
  readonly findings: readonly Finding[];
}

/** A row for each claim: its number, the claim, its source, what was measured, the verdict. */
export function reproductionRows({ findings }: Reproduction): [string, string, string, string, Verdict][] {
  return findings.map(({ claim, source, measured, verdict }, at) => [String(at + 1), claim, source, measured, verdict]);
}

/** The basis of each verdict and what a reader must know, by the number of the claim. */
export function reproductionNotes({ findings }: Reproduction): string[] {
  return findings.flatMap((finding, at) => {
    const note = findingNote(finding);
    return note === '' ? [] : [`${at + 1}. ${note}`];
  });
}

/** The basis of one verdict, in sentences; may be empty. */
export function findingNote({ judgements, untested, details }: Finding): string {
  const parts = [
    judgements.length > 0 && `Judged by ${judgements.map(judgementText).join('; ')}.`,
    untested && `Not tested: ${untested}`,
    details,
  ];
  return parts.filter(Boolean).join(' ');
}

/** Such as 'time of one over the other 1.21 (1.10 to 1.32; expected: 1.00 to 2.00)'. */
function judgementText({ what, value, interval, expected }: Judgement): string {
  const [low, high] = interval?.map(significant) ?? [];
  const spread = interval ? `${low} to ${high}; ` : '';
  return `${what} ${significant(value)} (${spread}expected: ${expected})`;
}

/** Where and how it was measured. */
export function reproductionSetting({ machine, runtime }: Reproduction): string {
  return `${formatMachine(machine)}; ${runtime.join('; ')}.`;
}
