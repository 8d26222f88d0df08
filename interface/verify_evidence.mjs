// Verify an evidence file of the ticket-credential service, without the service.
//
//     node verify_evidence.mjs FILE.zip --key KEY [--checkpoint OLD] [--show]
//
// Needs Node 20 or a browser with Ed25519 in WebCrypto, and nothing else. It checks the format of docs/evidence.md as
// verify_evidence.py does, with the same results word for word. Exit status 0: verified; 1: not verified, with the
// reason in one line; 2: a file cannot be read.

const FILES_OF_VERSION_1 = ['manifest', 'checkpoint', 'events.jsonl', 'heads.json', 'consistency.json', 'summary.html'];
const FILES = ['manifest', 'checkpoint', 'events.jsonl', 'details.jsonl', 'nodes', 'consistency.json', 'heads.json'];
// The namespaces of the UUIDs of streams.
const STREAMS = {
  user: hexBytes('6f5fd1b72f0b5a528c1e5d3b1d1f3a60'),
  policy: hexBytes('0e5a4c0e8a555c0b9a3c7d0b8f3f4b11'),
  subscription: hexBytes('c2f0a3d47b1e5f368e0d2a6b9c4d1e57'),
};
const MAX_BYTES = 2 ** 30;
const [KEY_BYTES, SIGNATURE_BYTES, DIGEST_BYTES, SALT_BYTES] = [33, 68, 32, 16];
const NUMBER = '0|[1-9][0-9]{0,14}';
const PROOF = '\\[((?:"[^"]*"(?:, ?"[^"]*"){0,63})?)\\]';
const EVENT = new RegExp(
  `^\\{"position": ?(${NUMBER}), ?"version": ?(${NUMBER}), ?"topic": ?"([A-Za-z0-9]{1,100})", ?` +
    `"state": ?"([^"]*)", ?"proof": ?${PROOF}\\}$`,
);
const HEADS = new RegExp(
  `^\\{"version": ?(${NUMBER}), ?"index": ?(${NUMBER}), ?"count": ?(${NUMBER}), ?"proof": ?${PROOF}\\}$`,
);
const OLDER = new RegExp(`^\\{"size": ?(${NUMBER}), ?"proof": ?${PROOF}\\}$`);
const UUID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
const ENTRY = new RegExp(
  `^\\{"position":(${NUMBER})(?:,"stream":"(${UUID})")?,"version":(${NUMBER}),"topic":"([A-Za-z0-9]{1,100})",` +
    '"state":(\\{.*\\})\\}$',
  's',
);
const DETAILS = new RegExp(`^\\{"position":(${NUMBER}),"salt":"([^"]*)","reason":("[^"\\\\]*(?:\\\\.[^"\\\\]*)*")\\}$`, 's');
const utf8 = new TextEncoder();

/** The evidence is invalid; the message is the reason. */
export class Wrong extends Error {}

/**
 * Return {client, scope, history, size}, the facts that the evidence proves. Throws Wrong with the reason if it is invalid.
 *
 * scope is {kind, name, stream, positions}; history has {position, topic, stored, reason} of each event.
 */
export async function verify(content, keys, old = null) {
  const files = unzip(content);
  const { version, client, scope, size } = await checkManifest(files, keys);
  const checkpoint = await parseCheckpoint(files['checkpoint'], keys, 'the checkpoint');
  if (!checkpoint.origin.endsWith(`/${percentEncoded(client)}`)) {
    throw new Wrong(`the checkpoint of ${quoted(checkpoint.origin)} is not of client ${quoted(client)}`);
  }
  if (checkpoint.size !== size) throw new Wrong('the sizes in the manifest and the checkpoint differ');
  const check = version === '1' ? checkVersion1 : checkVersion2;
  return { client, scope, history: await check(files, client, scope, checkpoint, keys, old), size };
}

/** Return the events of tickets-evidence-v1. Throws Wrong. */
async function checkVersion1(files, client, scope, checkpoint, keys, old) {
  const events = await checkEvents(files['events.jsonl'], client, scope.stream, checkpoint);
  await checkHeads(files['heads.json'], scope.stream, events.length, checkpoint, 'credential');
  const proofs = checkConsistency(files['consistency.json'], checkpoint);
  if (old !== null) await checkOld(await parseCheckpoint(old, keys, 'the older checkpoint'), checkpoint, proofs);
  return events;
}

/** Return the events of tickets-evidence-v2. Throws Wrong. */
async function checkVersion2(files, client, scope, checkpoint, keys, old) {
  const entries = checkEntries(files['events.jsonl'], scope);
  const sizes = olderSizes(files['consistency.json'], checkpoint);
  const roots = await checkTree(client, entries, sizes, files['nodes'], checkpoint);
  const events = await withDetails(files['details.jsonl'], entries.map(eventOf));
  if (scope.stream) await checkHeads(files['heads.json'], scope.stream, events.length, checkpoint, 'stream');
  if (old !== null) await checkPrefix(await parseCheckpoint(old, keys, 'the older checkpoint'), checkpoint, roots);
  return events;
}

/** Return the facts of verify() in one line. */
export function summary({ client, scope, history, size }) {
  return `all ${history.length} events ${scopeText(scope)} in client ${quoted(client)}, in a ledger of ${size} entries`;
}

function scopeText({ kind, name, positions }) {
  return positions ? `at positions ${positions[0]} to ${positions[1]}` : `of ${kind} ${quoted(name)}`;
}

/** Return the keys of a text, one per line. Throws Wrong. */
export async function parseKeys(text) {
  const keys = [];
  for (const line of text.split('\n').map((one) => one.replace(/^[ \t\r]+|[ \t\r]+$/g, '')).filter(Boolean)) {
    const found = /^([^+]*)\+([^+]*)\+(.*)$/su.exec(line);
    if (!found) throw new Wrong(`${quoted(line)} is not a verifier key: it must be name+hash+base64`);
    const [, name, keyHash, encoded] = found;
    const octets = decode(encoded, 'the key');
    if (octets.length !== KEY_BYTES || octets[0] !== 1) throw new Wrong(`the key ${quoted(name)} is not an Ed25519 key`);
    const fullHash = await sha256(utf8.encode(`${name}\n`), octets);
    if (hex(fullHash.subarray(0, 4)) !== keyHash) {
      throw new Wrong(`the key ${quoted(name)} does not match its hash: was it copied completely?`);
    }
    const verifying = await crypto.subtle.importKey('raw', octets.subarray(1), 'Ed25519', false, ['verify']);
    keys.push({ name, keyHash, verifying });
  }
  if (!keys.length) throw new Wrong('no key was given');
  return keys;
}

/** Return the files by name. Throws Wrong unless the ZIP is byte for byte as documented: so nothing else can be in it. */
function unzip(content) {
  if (content.length > MAX_BYTES) throw new Wrong('the file has more than 1 GiB');
  const files = {};
  const directory = [];
  let offset = 0;
  for (let number = 0; number < FILES.length && littleEndian(content.subarray(offset, offset + 4)) !== 0x02014b50; number += 1) {
    const begin = offset + 30 + littleEndian(content.subarray(offset + 26, offset + 28));
    const head = content.subarray(offset, begin);
    const name = head.subarray(30);
    const size = littleEndian(head.subarray(18, 22));
    const member = content.subarray(begin, begin + size);
    const common = packed([20, 2], [0, 2], [0, 2], [0, 2], [33, 2], [crc32(member), 4], [size, 4], [size, 4], [name.length, 2], [0, 2]);
    if (member.length !== size || !same(head, joined(packed([0x04034b50, 4]), common, name))) {
      throw new Wrong(`the ZIP is not as documented at byte ${offset}`);
    }
    directory.push(packed([0x02014b50, 4], [(3 << 8) | 20, 2]), common);
    directory.push(packed([0, 2], [0, 2], [0, 2], [0o644 * 2 ** 16, 4], [offset, 4]), name);
    files[latin1(name)] = member;
    offset = begin + size;
  }
  const count = Object.keys(files).length;
  const listed = joined(...directory);
  const end = packed([0x06054b50, 4], [0, 2], [0, 2], [count, 2], [count, 2], [listed.length, 4], [offset, 4], [0, 2]);
  if (!same(content.subarray(offset), joined(listed, end))) throw new Wrong('the ZIP is not as documented at its end');
  return files;
}

/** Return version, client, scope and size. Throws Wrong unless every file matches its signed hash. */
async function checkManifest(files, keys) {
  if (!files['manifest']) throw new Wrong('the file has no manifest');
  const text = await openNote(files['manifest'], keys, 'the manifest');
  const found =
    /^tickets-evidence-v([12])\nclient ([^ \n]+)\n(user|policy|subscription|stream|entries) ([^\n]+)\nsize ([1-9][0-9]{0,14})\n((?:sha256 [0-9a-f]{64} [^ \n]+\n)+)$/u.exec(text);
  if (!found || (found[1] === '1' && found[3] !== 'user')) {
    throw new Wrong('the manifest is not as documented, or of a later version');
  }
  const listed = found[6].split('\n').slice(0, -1).map((line) => line.split(' '));
  const expected = (found[1] === '1' ? FILES_OF_VERSION_1 : FILES.slice(0, found[3] === 'entries' ? 6 : 7)).join('\n');
  if (['manifest', ...listed.map(([, , name]) => name)].join('\n') !== expected || Object.keys(files).join('\n') !== expected) {
    throw new Wrong('the manifest does not list the files');
  }
  for (const [, signed, name] of listed) {
    if (hex(await sha256(files[name])) !== signed) throw new Wrong(`${name} is not the file that was signed`);
  }
  const client = unquoted(found[2]);
  return { version: found[1], client, scope: await parseScope(client, found[3], found[4]), size: Number(found[5]) };
}

/** Return the scope of a line of the manifest. Throws Wrong. */
async function parseScope(client, kind, text) {
  if (Object.hasOwn(STREAMS, kind)) {
    const name = unquoted(text);
    return { kind, name, stream: await uuid5(STREAMS[kind], `${client}\x1f${name}`) };
  }
  const pattern = kind === 'stream' ? UUID : '[1-9][0-9]{0,14} [1-9][0-9]{0,14}';
  if (!new RegExp(`^${pattern}$`).test(text)) throw new Wrong('the manifest is not as documented, or of a later version');
  if (kind === 'stream') return { kind, name: text, stream: hexBytes(text.replaceAll('-', '')) };
  return { kind, name: text, stream: null, positions: text.split(' ').map(Number) };
}

/** Return the text of a signed note. Throws Wrong unless it is well-formed and one of the keys signed it. */
async function openNote(note, keys, what) {
  const content = textOf(note, what);
  const separator = content.lastIndexOf('\n\n');
  if (separator < 0) throw new Wrong(`${what} is not a signed note`);
  const [text, signatures] = [content.slice(0, separator + 1), content.slice(separator + 2)];
  if (!signatures.endsWith('\n')) throw new Wrong(`${what} is truncated`);
  let good = false;
  for (const line of signatures.slice(0, -1).split('\n')) {
    const found = /^— ([^ ]+) ([^ ]+)$/u.exec(line);
    if (!found) throw new Wrong(`${what} has a malformed signature line`);
    const signature = decode(found[2], `a signature of ${what}`);
    for (const key of keys) {
      if (key.name !== found[1] || key.keyHash !== hex(signature.subarray(0, 4))) continue;
      const right = await crypto.subtle.verify('Ed25519', key.verifying, signature.subarray(4), utf8.encode(text));
      if (!right || signature.length !== SIGNATURE_BYTES) {
        throw new Wrong(`the signature of ${what} by ${quoted(key.name)} is wrong`);
      }
      good = true;
    }
  }
  if (!good) throw new Wrong(`${what} is not signed by the given key`);
  return text;
}

/** Return the content of a checkpoint. Throws Wrong. */
async function parseCheckpoint(note, keys, what) {
  const lines = (await openNote(note, keys, what)).split('\n').slice(0, -1);
  if (![3, 4].includes(lines.length) || !new RegExp(`^(?:${NUMBER})$`).test(lines[1])) {
    throw new Wrong(`${what} does not contain a size and a root`);
  }
  let heads = null;
  if (lines.length === 4) {
    const found = /^heads ([1-9][0-9]{0,14}) ([^ ]+)$/u.exec(lines[3]);
    if (!found) throw new Wrong(`${what} has an unknown line: ${quoted(lines[3])}`);
    heads = { count: Number(found[1]), root: digest(found[2], `the heads of ${what}`) };
  }
  return { origin: lines[0], size: Number(lines[1]), root: digest(lines[2], `the root of ${what}`), heads };
}

/** Return the events. Throws Wrong unless each is in the signed ledger and none is missing in between. */
async function checkEvents(content, client, stream, checkpoint) {
  const lines = latin1(content).split('\n');
  if (lines.pop() || !lines.length) throw new Wrong('events.jsonl is truncated or empty');
  const events = [];
  for (const [number, line] of lines.entries()) {
    const [version, what] = [number + 1, `event ${number + 1}`];
    const found = EVENT.exec(line);
    if (!found) throw new Wrong(`${what} is not written as documented`);
    const [position, topic, state] = [Number(found[1]), found[3], decode(found[4], what)];
    if (Number(found[2]) !== version) throw new Wrong(`${what} is missing: there is version ${found[2]} in its place`);
    if (version > 1 && position <= events.at(-1).position) {
      throw new Wrong(`${what} has position ${position}, which is not after that of the previous event`);
    }
    const entry = { position, stream, version, topic, state };
    const root = await rootFrom(await leafOf(client, entry), position - 1, checkpoint.size, nodes(found[5], what));
    if (!root || !same(root, checkpoint.root)) {
      throw new Wrong(`${what} (position ${position}, ${topic}) is not in the signed ledger as it stands here`);
    }
    events.push(eventOf(entry));
  }
  return events;
}

function leafOf(client, { position, stream, version, topic, state }) {
  return leafHash(framed(['tickets-leaf-v1', client, int64(position), stream, int64(version), topic, state]));
}

/** Return the event of an entry. Throws Wrong unless the stored bytes name its stream and version. */
function eventOf({ position, stream, version, topic, state }) {
  const what = `the event at position ${position}`;
  let stored;
  try {
    stored = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(state));
  } catch {
    throw new Wrong(`${what} is not JSON`);
  }
  const isObject = typeof stored === 'object' && stored !== null && !Array.isArray(stored);
  if (!isObject || stored.originator_id !== dashed(stream)) throw new Wrong(`${what} belongs to another stream`);
  if (stored.originator_version !== version) throw new Wrong(`${what} contains another version`);
  return { position, topic, stored, reason: asText(stored.reason ?? '') };
}

function dashed(stream) {
  return hex(stream).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** Return the entries. Throws Wrong unless they are those of the scope, without a gap. */
function checkEntries(content, scope) {
  const [first, last] = scope.positions ?? [1, 0];
  const entries = [];
  for (const [number, line] of linesOf(content, 'events.jsonl').entries()) {
    const found = ENTRY.exec(line);
    if (!found || (found[2] === undefined) !== (scope.stream !== null)) {
      throw new Wrong(`line ${number + 1} of events.jsonl is not written as documented`);
    }
    const [position, version, topic] = [Number(found[1]), Number(found[3]), found[4]];
    const stream = scope.stream ?? hexBytes(found[2].replaceAll('-', ''));
    if (!scope.stream && position !== first + number) {
      throw new Wrong(`position ${first + number} is missing: there is position ${position} in its place`);
    }
    if (scope.stream && version !== number + 1) {
      throw new Wrong(`event ${number + 1} is missing: there is version ${version} in its place`);
    }
    if (position <= (entries.at(-1)?.position ?? 0)) {
      throw new Wrong(`position ${position} is not after that of the previous event`);
    }
    entries.push({ position, stream, version, topic, state: fromLatin1(found[5]) });
  }
  if (!entries.length) throw new Wrong('events.jsonl is empty');
  if (!scope.stream && entries.at(-1).position !== last) {
    throw new Wrong(`the events end at position ${entries.at(-1).position} instead of ${last}`);
  }
  return entries;
}

/** Return the lines of a file, each byte as a character. Throws Wrong if the last one is not complete. */
function linesOf(content, name) {
  const lines = latin1(content).split('\n');
  if (lines.pop()) throw new Wrong(`${name} is truncated`);
  return lines;
}

/** Return the sizes of the older checkpoints for which the evidence has a proof. Throws Wrong. */
function olderSizes(content, checkpoint) {
  const text = latin1(content);
  const sizes = (text.match(/[0-9]+/g) ?? []).map(Number);
  const sorted = sizes.every((size, place) => size > (place ? sizes[place - 1] : 0) && size < checkpoint.size);
  if (!new RegExp(`^\\[(?:(?:${NUMBER})(?:,(?:${NUMBER}))*)?\\]$`).test(text) || !sorted) {
    throw new Wrong('consistency.json is not written as documented');
  }
  return sizes;
}

/** Return the roots of the trees of the older sizes, by size. Throws Wrong unless entries and proof are the signed tree. */
async function checkTree(client, entries, sizes, proof, checkpoint) {
  const positions = entries.map(({ position }) => position);
  if (positions.at(-1) > checkpoint.size) throw new Wrong(`position ${positions.at(-1)} is after the last of the signed ledger`);
  const wanted = new Set(sizes.flatMap(blocks).map(String));
  const kept = new Map();
  let place = 0;
  const next = () => proof.subarray(place, (place += DIGEST_BYTES));

  /** Return the hash of the node over the leaves [begin, end), from 0: computed if it is on the way to one of them. */
  async function node(begin, end) {
    let found;
    const leaf = countUpTo(positions, begin);
    if (leaf === countUpTo(positions, end) && countUpTo(sizes, begin) === countUpTo(sizes, end - 1)) {
      found = next();
    } else if (end - begin === 1) {
      found = await leafOf(client, entries[leaf]);
    } else {
      let span = 1;
      while (2 * span < end - begin) span *= 2;
      const left = await node(begin, begin + span);
      found = await nodeHash(left, await node(begin + span, end));
    }
    if (wanted.has(`${begin},${end}`)) kept.set(`${begin},${end}`, found);
    return found;
  }

  const root = await node(0, checkpoint.size);
  if (!same(root, checkpoint.root) || next().length) {
    throw new Wrong('the events are not in the signed ledger as they stand here');
  }
  const roots = new Map();
  for (const size of sizes) roots.set(size, await rootOver(blocks(size).map((block) => kept.get(String(block)))));
  return roots;
}

/** Return how many of the sorted numbers are not larger than the limit. */
function countUpTo(numbers, limit) {
  let [low, high] = [0, numbers.length];
  while (low < high) {
    const middle = half(low + high);
    if (numbers[middle] <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Return the complete subtrees of a tree, the largest first, as [begin, end]. */
function blocks(size) {
  const found = [];
  for (let begin = 0; begin < size; begin = found.at(-1)[1]) {
    let span = 1;
    while (2 * span <= size - begin) span *= 2;
    found.push([begin, begin + span]);
  }
  return found;
}

/** Return the root over the complete subtrees of a tree. */
async function rootOver(hashes) {
  let root = hashes.at(-1);
  for (const left of hashes.slice(0, -1).reverse()) root = await nodeHash(left, root);
  return root;
}

/** Return the events with their free text, or with the word erased. Throws Wrong if a text is not the signed one. */
async function withDetails(content, events) {
  const committed = new Map();
  for (const { position, stored } of events) {
    if (Object.hasOwn(stored, 'details')) committed.set(position, stored.details);
  }
  const texts = new Map();
  let last = 0;
  for (const [number, line] of linesOf(content, 'details.jsonl').entries()) {
    const found = DETAILS.exec(line);
    if (!found || Number(found[1]) <= last) throw new Wrong(`line ${number + 1} of details.jsonl is not written as documented`);
    last = Number(found[1]);
    if (!committed.has(last)) throw new Wrong(`details.jsonl has a text for position ${last}, whose event has none`);
    const [salt, fields] = [decode(found[2], `the salt for position ${last}`), fromLatin1(found[3])];
    const parts = [utf8.encode('tickets-commitment-v1\0'), salt, utf8.encode('{"reason":'), fields, utf8.encode('}')];
    if (salt.length !== SALT_BYTES || hex(await sha256(...parts)) !== committed.get(last)) {
      throw new Wrong(`the text for position ${last} is not the one that was signed`);
    }
    texts.set(last, textIn(fields, last));
  }
  const reason = (event) => (committed.has(event.position) ? (texts.get(event.position) ?? 'erased') : event.reason);
  return events.map((event) => ({ ...event, reason: reason(event) }));
}

/** Return the text of a JSON string. Throws Wrong. */
function textIn(fields, position) {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(fields));
  } catch {
    throw new Wrong(`the text for position ${position} is not JSON`);
  }
}

/** Throw Wrong unless the evidence is consistent with the older checkpoint. */
async function checkPrefix(old, now, roots) {
  checkNewer(old, now);
  const root = new Map([...roots, [0, await sha256()], [now.size, now.root]]).get(old.size);
  if (!root) throw new Wrong(noProof(old.size));
  if (!same(root, old.root)) throw new Wrong(changed(old.size));
}

/** Throw Wrong unless the signed heads prove that the stream has exactly these events. */
async function checkHeads(content, stream, versions, checkpoint, named) {
  if (!checkpoint.heads) {
    throw new Wrong('the checkpoint has no heads, so it does not prove that the events are complete');
  }
  const found = HEADS.exec(latin1(content));
  if (!found) throw new Wrong('heads.json is not written as documented');
  const [version, index, count] = [Number(found[1]), Number(found[2]), Number(found[3])];
  if (count !== checkpoint.heads.count) throw new Wrong('the numbers of streams in heads.json and the checkpoint differ');
  const leaf = await leafHash(joined(stream, int64(version)));
  const root = await rootFrom(leaf, index, count, nodes(found[4], 'heads.json'));
  if (!root || !same(root, checkpoint.heads.root)) {
    throw new Wrong(`the newest version of the ${named} is not the one that was signed`);
  }
  if (version !== versions) throw new Wrong(`the ${named} has ${version} events, but ${versions} are here`);
}

/** Return the proofs by the older size. Throws Wrong. */
function checkConsistency(content, checkpoint) {
  const text = latin1(content);
  const proofs = new Map();
  for (const one of text === '[]' ? [] : text.slice(1, -1).split(/(?<=\}), ?/)) {
    const found = OLDER.exec(one);
    if (!found || text[0] !== '[' || text.at(-1) !== ']') throw new Wrong('consistency.json is not written as documented');
    const size = Number(found[1]);
    if (size <= 0 || size > checkpoint.size) {
      throw new Wrong(`consistency.json has a proof from ${size} entries, of ${checkpoint.size}`);
    }
    proofs.set(size, nodes(found[2], 'consistency.json'));
  }
  return proofs;
}

function noProof(size) {
  return (
    `the evidence has no proof from a checkpoint of ${size} entries: export it again with` +
    ' `tickets evidence export … --checkpoint` and the file of the older checkpoint'
  );
}

function changed(size) {
  return `the first ${size} entries differ from those of the older checkpoint: the record was changed`;
}

/** Throw Wrong unless the evidence is of the same ledger as the older checkpoint, and not older. */
function checkNewer(old, now) {
  if (old.origin !== now.origin) {
    throw new Wrong(`the older checkpoint is of ${quoted(old.origin)}, the evidence of ${quoted(now.origin)}`);
  }
  if (old.size > now.size) {
    throw new Wrong(
      `the older checkpoint has ${old.size} entries, the evidence only ${now.size}: ` +
        'use newer evidence, or entries were removed',
    );
  }
}

/** Throw Wrong unless the evidence is consistent with the older checkpoint. */
async function checkOld(old, now, proofs) {
  checkNewer(old, now);
  const proof = [0, now.size].includes(old.size) ? [] : proofs.get(old.size);
  if (!proof) throw new Wrong(noProof(old.size));
  if (!(await consistent(old, now, proof))) throw new Wrong(changed(old.size));
}

/** Return the root computed from an inclusion proof (RFC 9162, section 2.1.3.2), or null. */
async function rootFrom(leaf, index, size, proof) {
  if (index < 0 || index >= size) return null;
  let [first, last, root] = [index, size - 1, leaf];
  for (const node of proof) {
    if (last === 0) return null;
    if (first % 2 || first === last) {
      root = await nodeHash(node, root);
      while (first % 2 === 0 && first) [first, last] = [half(first), half(last)];
    } else {
      root = await nodeHash(root, node);
    }
    [first, last] = [half(first), half(last)];
  }
  return last === 0 ? root : null;
}

/** Return whether the old tree is a prefix of the new one (RFC 9162, section 2.1.4.2). */
async function consistent(old, now, proof) {
  if (old.size === now.size) return !proof.length && same(old.root, now.root);
  if (old.size === 0) return !proof.length && same(old.root, await sha256());
  if (!proof.length) return false;
  let [first, last] = [old.size - 1, now.size - 1];
  while (first % 2) [first, last] = [half(first), half(last)];
  const path = first === 0 ? [old.root, ...proof] : proof;
  let [oldRoot, newRoot] = [path[0], path[0]];
  for (const node of path.slice(1)) {
    if (last === 0) return false;
    if (first % 2 || first === last) {
      [oldRoot, newRoot] = [await nodeHash(node, oldRoot), await nodeHash(node, newRoot)];
      while (first % 2 === 0 && first) [first, last] = [half(first), half(last)];
    } else {
      newRoot = await nodeHash(newRoot, node);
    }
    [first, last] = [half(first), half(last)];
  }
  return last === 0 && same(oldRoot, old.root) && same(newRoot, now.root);
}

function nodes(found, what) {
  return [...found.matchAll(/"([^"]*)"/g)].map(([, node]) => digest(node, `a node in the proof of ${what}`));
}

function digest(text, what) {
  const octets = decode(text, what);
  if (octets.length !== DIGEST_BYTES) throw new Wrong(`${what} has ${octets.length} bytes, a SHA-256 has 32`);
  return octets;
}

/** Decode base64 (RFC 4648, section 4). Throws Wrong unless the encoding is canonical. */
function decode(text, what) {
  let found = '';
  try {
    found = atob(text);
  } catch {
    // The comparison finds it.
  }
  if (btoa(found) !== text) throw new Wrong(`${what} is not canonical base64`);
  return fromLatin1(found);
}

function textOf(content, what) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(content);
  } catch {
    throw new Wrong(`${what} is not UTF-8`);
  }
}

function unquoted(text) {
  let found = null;
  try {
    found = decodeURIComponent(text);
  } catch {
    // The comparison finds it.
  }
  if (found === null || percentEncoded(found) !== text) {
    throw new Wrong('an id in the manifest is not percent-encoded as documented');
  }
  return found;
}

function percentEncoded(text) {
  const encoded = (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
  return encodeURIComponent(text).replace(/[!'()*]/g, encoded);
}

/** Return the text in quotes, without characters that a terminal or a reader could misunderstand. */
function quoted(text) {
  return `'${shown(text)}'`;
}

function shown(text) {
  const escaped = (character) =>
    character === ' ' ? character : `\\u${character.codePointAt(0).toString(16).padStart(4, '0')}`;
  return text.replace(/[\p{C}\p{Z}]/gu, escaped);
}

async function uuid5(namespace, name) {
  const found = new Uint8Array(await crypto.subtle.digest('SHA-1', joined(namespace, utf8.encode(name)))).slice(0, 16);
  found[6] = (found[6] & 0x0f) | 0x50;
  found[8] = (found[8] & 0x3f) | 0x80;
  return found;
}

function framed(fields) {
  const octets = fields.map((field) => (typeof field === 'string' ? utf8.encode(field) : field));
  return joined(...octets.flatMap((field) => [int32(field.length), field]));
}

async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', joined(...parts)));
}

function leafHash(entry) {
  return sha256(Uint8Array.of(0), entry);
}

function nodeHash(left, right) {
  return sha256(Uint8Array.of(1), left, right);
}

function half(number) {
  return Math.floor(number / 2);
}

function int32(number) {
  return packed([number, 4]).reverse();
}

function int64(number) {
  return joined(int32(Math.floor(number / 2 ** 32)), int32(number % 2 ** 32));
}

/** Return numbers as little-endian bytes; each is a pair of the number and its width. */
function packed(...numbers) {
  return Uint8Array.from(numbers.flatMap(([number, width]) => Array.from({ length: width }, (_, place) => Math.floor(number / 2 ** (8 * place)) % 256)));
}

function littleEndian(octets) {
  return octets.reduceRight((sum, octet) => sum * 256 + octet, 0);
}

function crc32(octets) {
  let sum = 0xffffffff;
  for (const octet of octets) sum = CRC_TABLE[(sum ^ octet) & 0xff] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, number) => {
  for (let bit = 0; bit < 8; bit += 1) number = number & 1 ? 0xedb88320 ^ (number >>> 1) : number >>> 1;
  return number;
});

function joined(...parts) {
  const found = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    found.set(part, offset);
    offset += part.length;
  }
  return found;
}

function same(one, other) {
  return one.length === other.length && one.every((octet, place) => octet === other[place]);
}

function latin1(octets) {
  let found = '';
  for (let begin = 0; begin < octets.length; begin += 8192) {
    found += String.fromCharCode(...octets.subarray(begin, begin + 8192));
  }
  return found;
}

function fromLatin1(text) {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function hex(octets) {
  return Array.from(octets, (octet) => octet.toString(16).padStart(2, '0')).join('');
}

function hexBytes(text) {
  return Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
}

const HIDDEN = [
  'originator_id', 'originator_version', 'originator_topic', 'timestamp', 'actor', 'reason', 'correlation_id',
  'command_id', 'request_digest', 'client_ext_id', 'details',
];
const HEADINGS = ['Position', 'Time', 'Event', 'Actor', 'Reason', 'Fields'];

/** Return the verified events as text, two lines for each. */
export async function table(found) {
  const cells = [HEADINGS, ...(await Promise.all(found.history.map((event) => row(event, found.scope.kind))))];
  const length = (text) => [...text].length;
  const widths = [0, 1, 2, 3].map((column) => cells.reduce((most, one) => Math.max(most, length(one[column])), 0));
  const lines = [];
  for (const one of cells) {
    const fixed = widths.map((width, column) => one[column] + ' '.repeat(width - length(one[column])));
    lines.push(`${fixed.join('  ')}  ${one[4]}`.replace(/ +$/, ''));
    if (one[5] && one !== HEADINGS) lines.push(`${' '.repeat(widths[0])}  ${one[5]}`);
  }
  return lines.join('\n');
}

async function row({ position, topic, stored, reason }, kind) {
  const hidden = kind === 'user' ? [...HIDDEN, 'user_ext_id'] : HIDDEN;
  const fields = Object.entries(stored).filter(([name, value]) => !hidden.includes(name) && value !== null);
  const shownFields = await Promise.all(
    fields.map(async ([name, value]) => {
      const text = name === 'ticket_hash' ? await fingerprint(value) : moment(value);
      return `${shown(words(name)).toLowerCase()}: ${text}`;
    }),
  );
  const cells = [String(position), moment(stored.timestamp), words(topic), shown(asText(stored.actor || ''))];
  return [...cells, shown(reason), shownFields.join('; ')];
}

/** Return a name such as TicketRegenerated or valid_from in words. */
function words(name) {
  const spaced = name.replace(/(?<=[a-z])(?=[A-Z])/g, ' ').replaceAll('_', ' ').toLowerCase();
  return spaced.slice(0, 1).toUpperCase() + spaced.slice(1);
}

/** Return a stored time such as 2026-11-23T09:42:00Z for people; any other value as text. */
function moment(value) {
  const text = asText(value);
  const found = /^([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]+)?(?:Z|\+00:00)$/.exec(text);
  return found ? `${found[1]} ${found[2]}${found[3] ?? ''} UTC` : shown(text);
}

/** Return a text as it is, and any other value as JSON. */
function asText(value) {
  return typeof value === 'string' ? value : JSON.stringify(value ?? null);
}

/** Return the algorithm of a hash and a fingerprint, not the hash: it would help to guess the ticket. */
async function fingerprint(value) {
  const algorithm = /^\{[A-Z0-9+]+\}/.exec(asText(value))?.[0] ?? '';
  return `${algorithm} ${hex(await sha256(utf8.encode(asText(value)))).slice(0, 16)}`.trim();
}

/** Run the command line of Node; returns the exit status. */
async function main() {
  const { parseArgs } = await import('node:util');
  const { readFile } = await import('node:fs/promises');
  const usage = 'usage: node verify_evidence.mjs FILE.zip --key KEY [--checkpoint OLD] [--show]';
  let content, keys, old, show;
  try {
    const options = { key: { type: 'string' }, checkpoint: { type: 'string' }, show: { type: 'boolean' } };
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    if (positionals.length !== 1 || !values.key) throw new Error(usage);
    show = values.show;
    content = await readFile(positionals[0]);
    old = values.checkpoint ? await readFile(values.checkpoint) : null;
    keys = values.key.includes('+') ? values.key : await readFile(values.key, 'utf-8');
  } catch (error) {
    console.error(error.message === usage ? usage : `cannot read: ${shown(error.message)}`);
    return 2;
  }
  try {
    const found = await verify(content, await parseKeys(keys), old);
    console.log(`VERIFIED: ${summary(found)}${old ? ', consistent with the older checkpoint' : ''}`);
    if (show) console.log(`\n${await table(found)}`);
    return 0;
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    console.log(`NOT VERIFIED: ${error.message}`);
    return 1;
  }
}

if (typeof process !== 'undefined' && process.argv?.[1]?.endsWith('verify_evidence.mjs')) process.exitCode = await main();
