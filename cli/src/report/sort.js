// Sorts the table of tracks by a click on a column's head. The order stands in the address (#sort=score, #sort=-score), so that
// it survives a reload and can be sent. Nothing is fetched, nothing is kept; without this script the table is as it was written.
(function () {
  'use strict';
  var table = document.getElementById('tracks');
  if (!table) { return; }
  var body = table.tBodies[0];
  var heads = Array.prototype.slice.call(table.tHead.rows[0].cells);
  var written = Array.prototype.slice.call(body.rows);

  function value(row, at) {
    var cell = row.cells[at];
    var text = cell.hasAttribute('data-v') ? cell.getAttribute('data-v') : cell.textContent;
    return heads[at].getAttribute('data-kind') === 'number' ? (text === '' ? null : Number(text)) : text;
  }

  // What has no value comes last, whichever way the others go; equals stay as they were written.
  function order(at, down) {
    var keyed = written.map(function (row, place) { return { row: row, place: place, value: value(row, at) }; });
    keyed.sort(function (a, b) {
      if (a.value === null || b.value === null) {
        return (a.value === null) - (b.value === null) || a.place - b.place;
      }
      var way = a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
      return (down ? -way : way) || a.place - b.place;
    });
    return keyed.map(function (item) { return item.row; });
  }

  function show() {
    var asked = /^#sort=(-?)([a-z]+)$/.exec(location.hash);
    if (!asked) { return; }
    heads.forEach(function (head, at) {
      var mine = head.getAttribute('data-name') === asked[2];
      head.setAttribute('aria-sort', !mine ? 'none' : asked[1] ? 'descending' : 'ascending');
      if (mine) {
        order(at, asked[1] === '-').forEach(function (row) { body.appendChild(row); });
      }
    });
  }

  heads.forEach(function (head) {
    var button = document.createElement('button');
    button.type = 'button';
    button.textContent = head.textContent;
    button.addEventListener('click', function () {
      var now = head.getAttribute('aria-sort');
      var first = head.getAttribute('data-kind') === 'number' ? 'descending' : 'ascending';
      var down = now === 'descending' ? false : now === 'ascending' ? true : first === 'descending';
      location.replace('#sort=' + (down ? '-' : '') + head.getAttribute('data-name'));
    });
    head.replaceChildren(button);
  });
  window.addEventListener('hashchange', show);
  show();
}());
