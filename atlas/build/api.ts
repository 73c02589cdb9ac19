/** The API reference: what the entry points of the package export, from their docstrings, read by TypeDoc. */
import { readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import {
  Application,
  type Comment,
  type DeclarationReflection,
  type ParameterReflection,
  type ProjectReflection,
  ReferenceReflection,
  ReferenceType,
  ReflectionKind,
  type SignatureReflection,
  TSConfigReader,
  type TypeParameterReflection,
} from 'typedoc';
import { OPS } from '../../src/bench/suites/ops';
import { tensorInputs, usualResults } from '../../src/ops/cost';
import type { TensorSpec } from '../../src/ops/define';
import { escaped } from '../site/highlight';
import { Html, html } from '../site/html';
import { markdown } from './markdown';
import { ROOT } from './standing';

interface Item {
  readonly name: string;
  readonly declaration: DeclarationReflection;
  readonly kind: Kind;
}

/** Exports that are imported under one name. */
interface Entry {
  readonly name: string;
  readonly path: string;
  readonly summary: string;
  readonly items: readonly Item[];
}

const KINDS = {
  Functions: ReflectionKind.Function,
  Classes: ReflectionKind.Class,
  Constants: ReflectionKind.Variable,
  Types: ReflectionKind.Interface | ReflectionKind.TypeAlias,
};
type Kind = keyof typeof KINDS;
const KIND_NAMES = Object.keys(KINDS) as Kind[];

const { exports, description } = JSON.parse(readFileSync(resolve(ROOT, 'package.json'), 'utf8'));
const files = Object.keys(exports)
  .filter((key) => !key.endsWith('.json'))
  .map((key) => ({ name: `saccade${key.slice(1)}`, file: resolve(ROOT, 'src', key, 'index.ts') }));

const project = await convert();
const entries: readonly Entry[] = files.flatMap(({ name, file }) => {
  const module = project.children!.find(({ sources }) => sources?.[0].fullFileName === file)!;
  const items = module.children!.map((child) => {
    const isHandedOn = child instanceof ReferenceReflection;
    const declaration = (isHandedOn ? child.getTargetReflectionDeep() : child) as DeclarationReflection;
    return { name: child.name, declaration, kind: KIND_NAMES.find((kind) => declaration.kindOf(KINDS[kind]))! };
  });
  items.sort((a, b) => KIND_NAMES.indexOf(a.kind) - KIND_NAMES.indexOf(b.kind) || a.name.localeCompare(b.name, 'en'));
  const room = name.replace(/^saccade\/?/, '') || 'saccade';
  return pagesOf({ name, path: `api/${room}/index.html`, summary: summaryOf(file), items });
});

/** Names that a page of its own is worth, and with more of which a page would be endless. */
function pagesOf(entry: Entry): Entry[] {
  const [few, many] = [6, 40];
  if (entry.items.length <= many) return [entry];
  const folders = ({ declaration }: Item) => declaration.sources![0].fileName.split('/').slice(1, -1);
  const grouped = (keyOf: (item: Item) => string) => Map.groupBy(entry.items, keyOf);
  const rooms = grouped((item) => folders(item)[0] ?? '');
  const parts = grouped((item) => folders(item).slice(0, 2).join('/'));
  const keyOf = (item: Item) => {
    const [room = ''] = folders(item);
    const part = folders(item).slice(0, 2).join('/');
    const key = rooms.get(room)!.length > many && parts.get(part)!.length >= few ? part : room;
    return (parts.get(key) ?? rooms.get(key) ?? []).length >= few ? key : '';
  };
  const groups = [...grouped(keyOf)];
  // One large part is no division.
  if (groups.length < 4) return [entry];
  return groups
    .sort(([a], [b]) => a.localeCompare(b, 'en'))
    .map(([key, items]) => {
      if (key === '') return { ...entry, items };
      const name = `${entry.name}: ${key.replace('/', ', ')}`;
      return { ...entry, name, path: entry.path.replace('index', `${key.replace('/', '-')}/index`), items };
    });
}

async function convert(): Promise<ProjectReflection> {
  const app = await Application.bootstrap(
    {
      entryPoints: files.map(({ file }) => file),
      tsconfig: resolve(ROOT, 'atlas/tsconfig.api.json'),
      basePath: ROOT,
      skipErrorChecking: true,
      excludeExternals: true,
      excludePrivate: true,
      excludeInternal: true,
      disableGit: true,
      sourceLinkTemplate: '{path}',
      readme: 'none',
      preservedTypeAnnotationTags: ['@throws'],
      sort: ['source-order'],
      logLevel: 'Error',
    },
    [new TSConfigReader()],
  );
  const found = await app.convert();
  if (!found) throw new Error('TypeDoc could not read the entry points');
  return found;
}

/** The first sentence of an entry point's file, or of the package. */
function summaryOf(file: string): string {
  return /^\/\*\* (.*?) \*\//.exec(readFileSync(file, 'utf8'))?.[1] ?? `${description}.`;
}

export function apiPages() {
  return [
    { path: 'api/index.html', title: 'API', body: indexPage() },
    ...entries.map((entry) => ({ path: entry.path, title: entry.name, body: entryPage(entry) })),
  ];
}

/** Names of options, properties and methods. */
const memberNames = new Set(
  entries.flatMap(({ items }) =>
    items.flatMap(({ declaration }) => declaration.children?.map(({ name }) => name) ?? []),
  ),
);

/** The address of a name's entry from a page, if it is unambiguous: only one entry point has it, and no member. */
export function apiAddress(name: string, page: string): string | undefined {
  if (memberNames.has(name)) return undefined;
  const [entry, ...others] = entries.filter(({ items }) => items.some((item) => item.name === name));
  return entry && others.length === 0 ? `${relative(dirname(page), entry.path)}#${name}` : undefined;
}

const search = html`<form role="search" class="find"><label class="hidden" for="query">Search names</label><input id="query" type="search" autocomplete="off" spellcheck="false" placeholder="search names"><output class="quiet number" id="count"></output></form>`;

function side(page: string, names: Html | false): Html {
  const link = (path: string, name: string) =>
    html`<li><a href="${relative(dirname(page), path)}"${path === page && html` aria-current="page"`}>${name}</a></li>`;
  return html`<nav class="side" aria-label="API"><ul class="contents">${link('api/index.html', 'All names')}${entries.map(({ path, name }) => link(path, name))}</ul>${names}</nav>`;
}

function indexPage(): Html {
  const sections = entries.map(
    ({ name, path, summary, items }) =>
      html`<section data-group><h2><a href="${relative('api', path)}">${name}</a></h2><p>${summary}</p><dl class="names">${items.map((item) => html`<div data-name="${item.name}"><dt><a href="${relative('api', path)}#${item.name}">${item.name}</a></dt><dd>${firstSentence(item.declaration)}</dd></div>`)}</dl></section>`,
  );
  return html`<div class="title plain"><h1>API</h1></div>
<div class="document">${side('api/index.html', false)}<div class="wide">${search}${sections}</div></div>`;
}

function firstSentence(declaration: DeclarationReflection): Html {
  const text = textOf(commentOf(declaration))
    .split(/(?<=[.:;])\s|\n\n/)[0]
    .replace(/[:;]$/, '.');
  return inline(text, () => undefined);
}

function entryPage(entry: Entry): Html {
  const kinds = KIND_NAMES.map((kind) => ({ kind, items: entry.items.filter((item) => item.kind === kind) })).filter(
    ({ items }) => items.length > 0,
  );
  const names = html`${search}<details class="names-of"><summary>${entry.items.length} names</summary>${kinds.map(({ kind, items }) => html`<div data-group><p class="quiet">${kind}</p><ul>${items.map(({ name }) => html`<li data-name="${name}"><a href="#${name}">${name}</a></li>`)}</ul></div>`)}</details>`;
  const page = new EntryPage(entry);
  return html`<div class="title plain"><h1>${entry.name}</h1><p class="lede">${entry.summary}</p></div>
<div class="document">${side(entry.path, names)}<div class="wide">${kinds.map(({ kind, items }) => html`<h2 class="kind">${kind}</h2>${items.map((item) => page.entry(item))}`)}</div></div>`;
}

/** Options of every call. */
const COMMON = ['signal', 'onProgress'];

/** Entries of a page. Options stand with the first function that takes them, and what is nowhere else by itself. */
class EntryPage {
  readonly #told = new Set<DeclarationReflection>();

  constructor(readonly page: Entry) {}

  entry({ name, declaration, kind }: Item): Html | false {
    if (this.#told.has(declaration)) return false;
    const [source] = declaration.sources ?? [];
    const body =
      kind === 'Functions'
        ? declaration.signatures!.map((signature) => this.#signature(name, signature))
        : html`${this.#code(headOf(name, declaration))}${this.#prose(commentOf(declaration))}${this.#members(declaration)}`;
    return html`<section class="entry" id="${name}"><h3>${name}</h3>${body}<p class="caption">${source?.fileName}</p></section>`;
  }

  #signature(name: string, signature: SignatureReflection): Html {
    const { comment, parameters = [] } = signature;
    const options = parameters.map((parameter) => this.#options(parameter));
    return html`${this.#code(`${name}${signatureOf(signature)}`)}${this.#prose(comment)}${declared(name)}${options}`;
  }

  /** The members of an options object, shown the first time it occurs. */
  #options({ type, name }: ParameterReflection): Html | false {
    const target = type instanceof ReferenceType ? type.reflection : undefined;
    const item = this.page.items.find(({ declaration }) => declaration === target);
    if (!item || !/(Options|Config)$/.test(item.name) || this.#told.has(item.declaration)) return false;
    this.#told.add(item.declaration);
    return html`<div class="options" id="${item.name}"><h4>${nameOf(name)}: ${item.name}</h4>${this.#prose(commentOf(item.declaration))}${this.#members(item.declaration)}</div>`;
  }

  #members({ children = [], type }: DeclarationReflection): Html | false {
    const isCommon = ({ name, inheritedFrom }: DeclarationReflection) => inheritedFrom && COMMON.includes(name);
    const own = type?.type === 'reflection' ? (type.declaration.children ?? []) : children;
    const shown = own.filter(
      (member) =>
        !member.kindOf(ReflectionKind.Constructor) &&
        /^\w/.test(member.name) &&
        !member.name.startsWith('__') &&
        !isCommon(member),
    );
    const common =
      own.some(isCommon) &&
      html`<dt><code>${COMMON.join(', ')}</code></dt><dd class="quiet">as of every call: ${this.#linked('Control')}</dd>`;
    if (own.length === 0) return false;
    return html`<dl class="members">${shown.map((member) => {
      const texts = member.signatures?.map((signature) => `${member.name}${signatureOf(signature)}`) ?? [
        `${member.name}${member.flags.isOptional ? '?' : ''}: ${member.getSignature?.type ?? member.type}`.replace(
          ' | undefined',
          '',
        ),
      ];
      return html`<dt>${texts.map((text) => html`<code>${this.#linked(text)}</code>`)}</dt><dd>${this.#prose(commentOf(member))}</dd>`;
    })}${common}</dl>`;
  }

  #prose(comment: Comment | undefined): Html | false {
    if (!comment) return false;
    const errors = comment.blockTags
      .filter(({ tag }) => tag === '@throws')
      .map(
        ({ typeAnnotation = '', content }) =>
          html`<li>${this.#linked(typeAnnotation.replace(/[{}]/g, ''))}: ${inline(content.map(({ text }) => text).join(''), (name) => this.#address(name))}</li>`,
      );
    const body = markdown(textOf(comment), (name) => this.#address(name));
    return html`<div class="prose">${body}${errors.length > 0 && html`<p>Throws</p><ul>${errors}</ul>`}</div>`;
  }

  #code(text: string): Html {
    return html`<div class="code"><pre tabindex="0"><code>${this.#linked(text)}</code></pre></div>`;
  }

  /** Code in which the names of exported types lead to them. */
  #linked(text: string): Html {
    return new Html(
      text
        .split(/\b([A-Z]\w+)\b/)
        .map((part, at) => {
          const address = at % 2 === 1 ? this.#address(part) : undefined;
          return address ? `<a href="${address}">${part}</a>` : escaped(part);
        })
        .join(''),
    );
  }

  #address(name: string): string | undefined {
    const entry = [this.page, ...entries].find(({ items }) => items.some((item) => item.name === name));
    return entry && `${entry === this.page ? '' : relative(dirname(this.page.path), entry.path)}#${name}`;
  }
}

/** What an op's declaration says of its tensors and its cost. */
function declared(name: string): Html | false {
  const declaration = OPS.find(([op]) => op.declaration.name === name)?.[0].declaration;
  if (!declaration) return false;
  const { operations } = declaration;
  const list = (tensors: readonly (readonly [string, TensorSpec])[]) =>
    tensors.map(([tensor, { axes, dtypes }], at) => {
      const shape = axes.split(' ').filter(Boolean).join(', ').replace('*', '...');
      return html`${at > 0 && ', '}<code>${tensor} [${shape}]</code> ${dtypes.join('/')}`;
    });
  return html`<p class="caption">${list(tensorInputs(declaration))} → ${list(usualResults(declaration))}${operations && html`; <code>${operations.replaceAll('*', '...')}</code> operations`}</p>`;
}

/** The comment of a function is that of its last, most general signature that has one; one inherited from an interface is left out. */
function commentOf(declaration: DeclarationReflection): Comment | undefined {
  const { comment, signatures = [], getSignature, extendedTypes = [] } = declaration;
  const found = comment ?? getSignature?.comment ?? signatures.findLast((signature) => signature.comment)?.comment;
  const isOfParent = extendedTypes.some(
    (type) => type instanceof ReferenceType && textOf(type.reflection?.comment) === textOf(found),
  );
  return isOfParent ? undefined : found;
}

/** A comment's text; links by name are code, which becomes a link where it is the name of an export. */
const textOf = (comment: Comment | undefined) =>
  (comment?.summary ?? [])
    .map((part) => (part.kind === 'inline-tag' ? `\`${part.text}\`` : part.text))
    .join('')
    // Lines break within an arrow of two characters.
    .replaceAll(' -> ', ' → ');

const nameOf = (name: string) => (name === '__namedParameters' ? 'options' : name);
const LONGEST_LINE = 88;

function signatureOf({ typeParameters, parameters = [], type }: SignatureReflection): string {
  const list = parameters.map(({ name, flags, defaultValue, type }) => {
    const isOptional = flags.isOptional || defaultValue !== undefined;
    return `${flags.isRest ? '...' : ''}${nameOf(name)}${isOptional ? '?' : ''}: ${type}`;
  });
  const head = genericsOf(typeParameters);
  const line = `${head}(${list.join(', ')}): ${type}`;
  return line.length < LONGEST_LINE ? line : `${head}(\n${list.map((each) => `  ${each},\n`).join('')}): ${type}`;
}

const genericsOf = (parameters: readonly TypeParameterReflection[] = []) =>
  parameters.length > 0
    ? `<${parameters.map(({ name, type }) => (type ? `${name} extends ${type}` : name)).join(', ')}>`
    : '';

/** How a class, a type or a constant is declared, without its members. */
function headOf(name: string, declaration: DeclarationReflection): string {
  const { type, typeParameters, extendedTypes = [] } = declaration;
  const full = `${name}${genericsOf(typeParameters)}`;
  if (declaration.kindOf(ReflectionKind.Variable)) return `const ${full}: ${type}`;
  if (declaration.kindOf(ReflectionKind.TypeAlias)) return `type ${full} = ${type}`;
  const word = declaration.kindOf(ReflectionKind.Class) ? 'class' : 'interface';
  return `${word} ${full}${extendedTypes.length > 0 ? ` extends ${extendedTypes.join(', ')}` : ''}`;
}

const inline = (text: string, address: (name: string) => string | undefined) =>
  new Html(
    markdown(text, address)
      .text.trim()
      .replace(/^<p>([\s\S]*)<\/p>$/, '$1'),
  );
