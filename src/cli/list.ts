import { styleText } from 'node:util';
import { Command } from 'commander';
import type { Method } from '../methods/define';
import { describeParams, paramsJsonSchema } from '../methods/params';
import { methods } from '../methods/registry';
import { formatTable } from '../text/table';

export function listCommand(): Command {
  return new Command('list')
    .description('list every method: family, paper, inputs, params')
    .option('--json', 'print JSON, with the params as a JSON Schema')
    .action(({ json }: { json?: true }) => {
      const text = json ? JSON.stringify(methods.map(describe), undefined, 2) : table(methods);
      process.stdout.write(`${text}\n`);
    });
}

function describe(method: Method) {
  const { name, family, summary, paper, inputs, optional, integers, outputs, params } = method;
  const gradient = method.gradient !== false;
  return {
    name,
    family,
    summary,
    paper,
    inputs,
    optional,
    integers,
    outputs,
    gradient,
    params: paramsJsonSchema(params),
  };
}

function table(listed: readonly Method[]): string {
  const columns = ['method', 'paper', 'inputs', 'params'].map((header) => ({ header }));
  return formatTable(columns, listed.map(row));
}

function row({ name, family, paper, inputs, optional = {}, gradient, params }: Method): string[] {
  const source = paper ? [`arXiv ${paper.arxiv}`, styleText('dim', String(paper.year))] : [];
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
