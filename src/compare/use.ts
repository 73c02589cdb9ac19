import type { Method } from '../methods/define';
import { exactAttention } from '../methods/dense/attention';
import { methods as registry } from '../methods/registry';
import { literal } from '../text/literal';
import { shellCommand } from '../text/shell';
import type { Row, Use } from './comparison';

/** `method` is the row's. */
export function useOf({ label, params }: Pick<Row, 'label' | 'params'>, method: Method): Use {
  const { name, summary, family, paper } = method;
  const isKnown = registry.includes(method);
  return {
    label,
    method: `${name}: ${summary}`,
    pages: [
      ...(isKnown ? [`src/methods/${family}/${name}/README.md`] : []),
      ...(paper ? [`arxiv.org/abs/${paper}`] : []),
    ],
    code: codeOf(method, params, isKnown),
    ...(isKnown && { command: commandOf(name, params) }),
  };
}

/** Params of exact attention that are options of `attention`, which needs no method. */
const OF_ATTENTION = ['causal', 'window', 'scale'];

function codeOf(method: Method, params: Row['params'], isKnown: boolean): string {
  const names = Object.keys(params);
  const settings = names.length > 0 ? literal(params) : '';
  if (method === exactAttention && names.every((param) => OF_ATTENTION.includes(param))) {
    const args = ['q, k, v', settings].filter(Boolean).join(', ');
    return `import { attention } from 'saccade';\nconst { out } = attention(${args});`;
  }
  return [
    ...(isKnown
      ? ["import { findMethod } from 'saccade';", `const method = findMethod('${method.name}');`]
      : [`// method: ${method.name}, your own`]),
    `const { out } = method.forward({ q, k, v }, method.parse(${settings || '{}'}));`,
  ].join('\n');
}

function commandOf(name: string, params: Row['params']): string {
  const given = Object.keys(params).length > 0 ? ['--params', JSON.stringify(params)] : [];
  const files = ['--in', 'qkv.safetensors', '--out', 'result.safetensors'];
  return shellCommand(['npx', 'saccade', 'run', name, ...files, ...given]);
}
