import { styleText } from 'node:util';
import { Command } from 'commander';
import { show } from '../check';
import { ParameterError } from '../errors';
import type { Method } from '../methods/define';
import { describeParams } from '../methods/params';
import { paramsJsonSchema } from '../methods/params-json-schema';
import { methods } from '../methods/registry';
import type { Model } from '../models/define';
import { models } from '../models/registry';
import { citationOf, findPaper } from '../papers/find';
import { formatTable } from '../text/table';
import { jsonOption } from './options';
import { tell } from './write-file';

/** Spaces between a name and its description. */
const GAP = 2;

export type Listed = Method | Model;

export function listCommand(): Command {
  return new Command('list')
    .argument('[name]')
    .addOption(jsonOption('the methods, or the one that is named, with the params as a JSON Schema,'))
    .option('--models', 'only the models')
    .action(async (named: string | undefined, { json: given, models: only }: { json?: string; models?: true }) => {
      // In `--json NAME` the name is no file.
      const isName = named === undefined && [...methods, ...models].some((each) => each.name === given);
      const [name, json] = isName ? [given, '-'] : [named, given];
      const listed: readonly Listed[] = name === undefined ? (only ? models : methods) : [findListed(name)];
      const all = only ? models : [...methods, ...models];
      await tell(() => (name === undefined ? lines(all) : table(listed)), json, listed.map(describe));
    });
}

/** @throws {ParameterError} a name that neither a method nor a model has */
function findListed(name: string): Listed {
  const all = [...methods, ...models];
  const found = all.find((each) => each.name === name);
  if (found) return found;
  throw new ParameterError(`name must be one of ${all.map((each) => each.name).join(', ')}, got ${show(name)}`);
}

const isMethod = (listed: Listed): listed is Method => 'family' in listed;

/** What it is listed under. */
const familyOf = (listed: Listed) => (isMethod(listed) ? listed.family : 'models');

/** What each method computes, under the name of its family, and each model. */
function lines(listed: readonly Listed[]): string {
  const indent = Math.max(...listed.map(({ name }) => name.length)) + GAP;
  const families = [...new Set(listed.map(familyOf))];
  const line = ({ name, summary }: Listed) => `${styleText('cyan', name)}${' '.repeat(indent - name.length)}${summary}`;
  return [
    ...families.flatMap((family) => [
      styleText('dim', family),
      ...listed.filter((each) => familyOf(each) === family).map(line),
      '',
    ]),
    'saccade list NAME tells its paper, inputs, outputs and params.',
  ].join('\n');
}

function describe(listed: Listed) {
  const { name, summary, inputs, optional, integers, outputs, promised } = listed;
  const found = findPaper(listed.paper);
  const paper = found && citationOf(found);
  return {
    name,
    family: familyOf(listed),
    summary,
    paper,
    inputs,
    optional,
    integers,
    outputs,
    promised,
    ...(isMethod(listed) ? { gradient: listed.gradient !== false } : { weights: weightsOf(listed) }),
    params: paramsJsonSchema(listed.params),
  };
}

/** The shapes of a model's parameters and buffers by their names in checkpoints, with the params that its sample has. */
function weightsOf(model: Model): Readonly<Record<string, readonly number[]>> {
  const { parameters } = model.create(model.sample().params as never);
  return Object.fromEntries(Object.entries(parameters).map(([name, { shape }]) => [name, shape]));
}

/** As `list` and the help of `run` show them. */
export function table(listed: readonly Listed[]): string {
  return formatTable(['name', 'paper', 'inputs and outputs', 'params'], listed.map(row));
}

function row(listed: Listed): string[] {
  const { name, paper, inputs, optional = {}, outputs, params } = listed;
  const hasNoGradient = isMethod(listed) && listed.gradient === false;
  const found = findPaper(paper);
  const source = found ? [`arXiv ${found.arxiv}`, styleText('dim', String(found.year))] : [];
  const letters = (specs: Listed['inputs']) => Object.entries(specs).map(([each, axes]) => `${each} [${axes}]`);
  const tensors = [
    ...letters(inputs),
    ...letters(optional).map((text) => styleText('dim', `${text} optional`)),
    ...letters(outputs).map((text) => `-> ${text}`),
  ];
  const settings = describeParams(params).flatMap(({ name: param, type, required, default: preset }) => {
    const fallback = preset === undefined ? 'optional' : `default ${JSON.stringify(preset)}`;
    return [`${param}: ${type}`, ...(required ? [] : [styleText('dim', `  ${fallback}`)])];
  });
  return [
    [
      styleText('cyan', name),
      styleText('dim', familyOf(listed)),
      ...(hasNoGradient ? [styleText('dim', 'no gradient')] : []),
    ].join('\n'),
    source.join('\n'),
    tensors.join('\n'),
    settings.join('\n'),
  ];
}
