/** The experiments by the paper whose claims they measure: a folder each, loaded when asked for. */
import { show } from '../check';
import { ParameterError } from '../errors';
import { methods } from '../methods/registry';
import { type ListedPaper, papers } from '../papers';
import { findPaper } from '../papers/find';
import type { Experiment } from './experiment';
import { experiments } from './experiments.generated';

const loaders: Readonly<Record<string, () => Promise<{ readonly experiment: Experiment }>>> = experiments;

/** The papers that have an experiment. */
export const measured: readonly ListedPaper[] = papers.filter(({ id }) => Object.hasOwn(loaders, id));

export async function loadExperiment({ id }: Pick<ListedPaper, 'id'>): Promise<Experiment> {
  return (await (loaders[id] as (typeof loaders)[string])()).experiment;
}

/**
 * The paper of an experiment, by the paper's name or that of one of its methods.
 *
 * @throws {ParameterError} a name of neither, or of a paper without an experiment; it lists the known ones
 */
export function findMeasured(name: string): ListedPaper {
  const method = methods.find((each) => each.name === name);
  const paper = papers.find(({ id }) => id === name) ?? findPaper(method?.paper);
  if (paper && measured.includes(paper)) return paper;
  const choice = `choose one of ${measured.map(({ id }) => id).join(', ')}`;
  if (paper) throw new ParameterError(`${name} has no experiment to reproduce: ${choice}`);
  throw new ParameterError(`there is no paper or method ${show(name)}: ${choice}`);
}
