// Requests to the server; what it refuses comes as one sentence.

async function answered(response) {
  if (response.ok) return response;
  let words = `The server answered ${response.status}.`;
  try {
    words = (await response.json()).detail ?? words;
  } catch {
    // no JSON: the status is all there is
  }
  // a sentence may begin with a file's name, which stays as it is
  const error = new Error(/^[a-z]+ /.test(words) ? words[0].toUpperCase() + words.slice(1) : words);
  error.status = response.status;
  throw error;
}

async function reached(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new Error("The server does not answer; start it again. What you did is kept there.");
  }
  return answered(response);
}

export const get = async (url) => (await reached(url)).json();

export const bytes = async (url) => new Uint8Array(await (await reached(url)).arrayBuffer());

// the address of a copy that is here, to be revoked
export const local = async (url) => URL.createObjectURL(await (await reached(url)).blob());

export const post = async (url, content = {}) =>
  (
    await reached(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(content),
    })
  ).json();

export async function send(files) {
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name);
  return (await reached("/api/scans", { method: "POST", body: form })).json();
}
