// HTTP/1.1 and WebSocket clients that connect to loopback and name any host, and one that sends exact bytes.
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { WebSocket } from 'ws';
import { learnAddress, learnBody, learnHead, keep } from './hygiene.mjs';

/**
 * One exchange on a connection of its own. `body` is text, bytes or a stream; `stream: true` leaves the answer's body
 * unread; `ca` is the authority of a gateway that speaks TLS.
 */
export function request(port, { host, method = 'GET', path = '/', headers = {}, body, stream = false, ca }) {
  const learn = (head, text) => {
    learnHead(head);
    learnBody(path, text);
  };
  learnAddress(path);
  learn(Object.entries(headers), body);
  return new Promise((done, fail) => {
    const options = { host: '127.0.0.1', port, method, path, agent: false, headers: { host, ...headers } };
    const call = ca ? https.request({ ...options, ca, servername: host.split(':')[0] }) : http.request(options);
    call.on('error', fail);
    call.on('upgrade', (response, socket) => done({ status: response.statusCode, headers: response.headers, socket }));
    call.on('response', (response) => {
      const answer = { status: response.statusCode, headers: response.headers, rawHeaders: response.rawHeaders, response };
      if (stream) return done(answer);
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', fail);
      response.on('end', () => {
        answer.text = Buffer.concat(chunks).toString();
        learn(Object.entries(response.headers), answer.text);
        if (/json/.test(response.headers['content-type'] ?? '') && answer.text) answer.json = JSON.parse(answer.text);
        done(answer);
      });
    });
    if (body?.pipe) body.pipe(call);
    else call.end(body);
  });
}

/** Sends exact bytes and reads one whole answer, or until the other end closes. */
export function raw(port, bytes, { seconds = 60 } = {}) {
  return new Promise((done, fail) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(bytes));
    const chunks = [];
    const timer = setTimeout(() => socket.destroy(new Error(`no end within ${seconds} s after: ${Buffer.concat(chunks).toString('latin1').slice(0, 300)}`)), seconds * 1000);
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      if (whole(Buffer.concat(chunks).toString('latin1'))) socket.destroy();
    });
    socket.on('error', (error) => (error.code === 'ECONNRESET' ? undefined : fail(error)));
    socket.on('close', () => {
      clearTimeout(timer);
      done(Buffer.concat(chunks).toString('latin1'));
    });
  });
}

/** Whether an answer with a `Content-Length` is there to its last byte. */
function whole(text) {
  const end = text.indexOf('\r\n\r\n');
  const length = text.slice(0, end).match(/^content-length: (\d+)/im)?.[1];
  return end >= 0 && length !== undefined && text.length >= end + 4 + Number(length);
}

/** Opens a WebSocket; resolves to the socket, or to `{status, text}` when it was refused. */
export function websocket(port, { host, path = '/', headers = {}, protocols = [], onMessage }) {
  return new Promise((done, fail) => {
    learnHead(Object.entries(headers));
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, { headers: { host, ...headers }, perMessageDeflate: false });
    // Before the handshake: what comes in one packet with its answer would be missed later.
    if (onMessage) socket.on('message', onMessage);
    const send = socket.send.bind(socket);
    socket.send = (message, ...how) => {
      if (typeof message === 'string' && message.length >= 20 && !message.startsWith('{')) keep('text of a socket', message);
      return send(message, ...how);
    };
    socket.once('open', () => done({ status: 101, socket }));
    socket.once('unexpected-response', (call, response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => done({ status: response.statusCode, headers: response.headers, text: Buffer.concat(chunks).toString() }));
    });
    socket.once('error', (error) => (/Unexpected server response/.test(error.message) ? undefined : fail(error)));
  });
}
