import { styleText } from 'node:util';
import { Command } from 'commander';
import type { Method } from '../methods/define';
import { describeParams } from '../methods/params';
import { paramsJsonSchema } from '../methods/params-json-schema';
import { findMethod, methods } from '../methods/registry';
import { citationOf, findPaper } from '../papers/find';
import { formatTable } from '../text/table';

/** Spaces between a name and its description. */
const GAP = 2;

export function listCommand(): Command {
  return new Command('list')
    .argument('[method]')
    .option('--json', 'print JSON, with the params as a JSON Schema')
    .action((name: string | undefined, { json }: { json?: true }) => {
      const listed = name === undefined ? methods : [findMethod(name)];
      const text = json
        ? JSON.stringify(listed.map(describe), undefined, 2)
        : name === undefined
          ? lines(listed)
          : table(listed);
      process.stdout.write(`${text}\n`);
    });
}

/** What each method computes, under the name of its family. */
function lines(listed: readonly Method[]): string {
  const indent = Math.max(...listed.map(({ name }) => name.length)) + GAP;
  const families = [...new Set(listed.map(({ family }) => family))];
  const line = ({ name, summary }: Method) => `${styleText('cyan', name)}${' '.repeat(indent - name.length)}${summary}`;
  return [
    ...families.flatMap((family) => [
      styleText('dim', family),
      ...listed.filter((method) => method.family === family).map(line),
      '',
    ]),
    'saccade list METHOD tells its paper, inputs and params.',
  ].join('\n');
}

function describe({ params, gradient, ...method }: Method) {
  const { name, family, summary, inputs, optional, integers, outputs, promised } = method;
  const found = findPaper(method.paper);
  const paper = found && citationOf(found);
  const said = { name, family, summary, paper, inputs, optional, integers, outputs, promised };
  return { ...said, gradient: gradient !== false, params: paramsJsonSchema(params) };
}

function table(listed: readonly Method[]): string {
  return formatTable(['method', 'paper', 'inputs', 'params'], listed.map(row));
}

function row({ name, family, paper, inputs, optional = {}, gradient, params }: Method): string[] {
  const found = findPaper(paper);
  const source = found ? [`arXiv ${found.arxiv}`, styleText('dim', String(found.year))] : [];
  const show = (specs: Method['inputs']) => Object.entries(specs).map(([input, letters]) => `${input} [${letters}]`);
  const tensors = [...show(inputs), ...show(optional).map((text) => styleText('dim', `${text} optional`))];
  const settings = describeParams(params).flatMap(({ name: param, type, required, default: preset }) => {
    const fallback = preset === undefined ? 'optional' : `default ${JSON.stringify(preset)}`;
    return [`${param}: ${type}`, ...(required ? [] : [styleText('dim', `  ${fallback}`)])];
  });
  return [
    [
      styleText('cyan', name),
      styleText('dim', family),
      ...(gradient === false ? [styleText('dim', 'no gradient')] : []),
    ].join('\n'),
    source.join('\n'),
    tensors.join('\n'),
    settings.join('\n'),
  ];
}
