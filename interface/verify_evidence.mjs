// Verify an evidence file of the ticket-credential service, without the service.
//
//     node verify_evidence.mjs FILE.zip --key KEY [--checkpoint OLD]
//
// Needs Node 20 or a browser with Ed25519 in WebCrypto, and nothing else. It checks the format of docs/evidence.md as
// verify_evidence.py does, with the same results word for word. Exit status 0: verified; 1: not verified, with the
// reason in one line; 2: a file cannot be read.

const FILES = ['manifest', 'checkpoint', 'events.jsonl', 'heads.json', 'consistency.json', 'summary.html'];
const STREAMS = hexBytes('6f5fd1b72f0b5a528c1e5d3b1d1f3a60');
const MAX_BYTES = 2 ** 30;
const [KEY_BYTES, SIGNATURE_BYTES, DIGEST_BYTES] = [33, 68, 32];
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
const utf8 = new TextEncoder();

/** The evidence is invalid; the message is the reason. */
export class Wrong extends Error {}

/** Return {client, user, events, size}, the facts that the evidence proves. Throws Wrong with the reason if it is invalid. */
export async function verify(content, keys, old = null) {
  const files = unzip(content);
  const { client, user, size } = await checkManifest(files, keys);
  const checkpoint = await parseCheckpoint(files['checkpoint'], keys, 'the checkpoint');
  if (!checkpoint.origin.endsWith(`/${percentEncoded(client)}`)) {
    throw new Wrong(`the checkpoint of ${quoted(checkpoint.origin)} is not of client ${quoted(client)}`);
  }
  if (checkpoint.size !== size) throw new Wrong('the sizes in the manifest and the checkpoint differ');
  const stream = await uuid5(STREAMS, `${client}\x1f${user}`);
  const events = await checkEvents(files['events.jsonl'], client, stream, checkpoint);
  await checkHeads(files['heads.json'], stream, events, checkpoint);
  const proofs = checkConsistency(files['consistency.json'], checkpoint);
  if (old !== null) await checkOld(await parseCheckpoint(old, keys, 'the older checkpoint'), checkpoint, proofs);
  return { client, user, events, size };
}

/** Return the facts of verify() in one line. */
export function summary({ client, user, events, size }) {
  return `all ${events} events of user ${quoted(user)} in client ${quoted(client)}, in a ledger of ${size} entries`;
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
  for (const name of FILES) {
    const begin = offset + 30 + name.length;
    const head = content.subarray(offset, begin);
    const size = littleEndian(head.subarray(18, 22));
    const member = content.subarray(begin, begin + size);
    const common = packed([20, 2], [0, 2], [0, 2], [0, 2], [33, 2], [crc32(member), 4], [size, 4], [size, 4], [name.length, 2], [0, 2]);
    const right = joined(packed([0x04034b50, 4]), common, utf8.encode(name));
    if (member.length !== size || !same(head, right)) throw new Wrong(`the ZIP is not as documented at ${name}`);
    directory.push(packed([0x02014b50, 4], [(3 << 8) | 20, 2]), common);
    directory.push(packed([0, 2], [0, 2], [0, 2], [0o644 * 2 ** 16, 4], [offset, 4]), utf8.encode(name));
    files[name] = member;
    offset = begin + size;
  }
  const listed = joined(...directory);
  const end = packed([0x06054b50, 4], [0, 2], [0, 2], [FILES.length, 2], [FILES.length, 2], [listed.length, 4], [offset, 4], [0, 2]);
  if (!same(content.subarray(offset), joined(listed, end))) throw new Wrong('the ZIP is not as documented at its end');
  return files;
}

/** Return client, user and size. Throws Wrong unless every file matches its signed hash. */
async function checkManifest(files, keys) {
  const text = await openNote(files['manifest'], keys, 'the manifest');
  const found =
    /^tickets-evidence-v1\nclient ([^ \n]+)\nuser ([^ \n]+)\nsize ([1-9][0-9]{0,14})\n((?:sha256 [0-9a-f]{64} [^ \n]+\n)+)$/u.exec(text);
  if (!found) throw new Wrong('the manifest is not as documented, or of a later version');
  const listed = found[4].split('\n').slice(0, -1).map((line) => line.split(' '));
  if (listed.map(([, , name]) => name).join('\n') !== FILES.slice(1).join('\n')) {
    throw new Wrong('the manifest does not list the files');
  }
  for (const [, signed, name] of listed) {
    if (hex(await sha256(files[name])) !== signed) throw new Wrong(`${name} is not the file that was signed`);
  }
  return { client: unquoted(found[1]), user: unquoted(found[2]), size: Number(found[3]) };
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

/** Return the number of events. Throws Wrong unless each is in the signed ledger and none is missing in between. */
async function checkEvents(content, client, stream, checkpoint) {
  const lines = latin1(content).split('\n');
  if (lines.pop() || !lines.length) throw new Wrong('events.jsonl is truncated or empty');
  let last = 0;
  for (const [number, line] of lines.entries()) {
    const [version, what] = [number + 1, `event ${number + 1}`];
    const found = EVENT.exec(line);
    if (!found) throw new Wrong(`${what} is not written as documented`);
    const [position, topic, state] = [Number(found[1]), found[3], decode(found[4], what)];
    if (Number(found[2]) !== version) throw new Wrong(`${what} is missing: there is version ${found[2]} in its place`);
    if (version > 1 && position <= last) {
      throw new Wrong(`${what} has position ${position}, which is not after that of the previous event`);
    }
    last = position;
    const fields = ['tickets-leaf-v1', client, int64(position), stream, int64(version), topic, state];
    const leaf = await leafHash(framed(fields));
    const root = await rootFrom(leaf, position - 1, checkpoint.size, nodes(found[5], what));
    if (!root || !same(root, checkpoint.root)) {
      throw new Wrong(`${what} (position ${position}, ${topic}) is not in the signed ledger as it stands here`);
    }
    checkStored(state, stream, version, what);
  }
  return lines.length;
}

/** Throw Wrong unless the stored bytes name this stream and version. */
function checkStored(state, stream, version, what) {
  let stored;
  try {
    stored = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(state));
  } catch {
    throw new Wrong(`${what} is not JSON`);
  }
  const isObject = typeof stored === 'object' && stored !== null && !Array.isArray(stored);
  const id = hex(stream).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  if (!isObject || stored.originator_id !== id) throw new Wrong(`${what} belongs to another credential`);
  if (stored.originator_version !== version) throw new Wrong(`${what} contains another version`);
}

/** Throw Wrong unless the signed heads prove that the credential has exactly these events. */
async function checkHeads(content, stream, versions, checkpoint) {
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
    throw new Wrong('the newest version of the credential is not the one that was signed');
  }
  if (version !== versions) throw new Wrong(`the credential has ${version} events, but ${versions} are here`);
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

/** Throw Wrong unless the evidence is consistent with the older checkpoint. */
async function checkOld(old, now, proofs) {
  if (old.origin !== now.origin) {
    throw new Wrong(`the older checkpoint is of ${quoted(old.origin)}, the evidence of ${quoted(now.origin)}`);
  }
  if (old.size > now.size) {
    throw new Wrong(
      `the older checkpoint has ${old.size} entries, the evidence only ${now.size}: ` +
        'use newer evidence, or entries were removed',
    );
  }
  const proof = [0, now.size].includes(old.size) ? [] : proofs.get(old.size);
  if (!proof) {
    throw new Wrong(
      `the evidence has no proof from a checkpoint of ${old.size} entries: export it again with` +
        ' `tickets evidence export … --checkpoint` and the file of the older checkpoint',
    );
  }
  if (!(await consistent(old, now, proof))) {
    throw new Wrong(`the first ${old.size} entries differ from those of the older checkpoint: the record was changed`);
  }
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
  return Uint8Array.from(found, (character) => character.charCodeAt(0));
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

function hex(octets) {
  return Array.from(octets, (octet) => octet.toString(16).padStart(2, '0')).join('');
}

function hexBytes(text) {
  return Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
}

/** Run the command line of Node; returns the exit status. */
async function main() {
  const { parseArgs } = await import('node:util');
  const { readFile } = await import('node:fs/promises');
  const usage = 'usage: node verify_evidence.mjs FILE.zip --key KEY [--checkpoint OLD]';
  let content, keys, old;
  try {
    const options = { key: { type: 'string' }, checkpoint: { type: 'string' } };
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    if (positionals.length !== 1 || !values.key) throw new Error(usage);
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
    return 0;
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    console.log(`NOT VERIFIED: ${error.message}`);
    return 1;
  }
}

if (typeof process !== 'undefined' && process.argv?.[1]?.endsWith('verify_evidence.mjs')) process.exitCode = await main();
