#!/usr/bin/env python3
"""Fails when modules of a crate depend on each other in a cycle: `cycles.py [PACKAGE…]`, all of the workspace without one.

At each level of the module tree, a module depends on a sibling when code at or under it has a path (`crate::`, `super::`,
`self::`; in `use` or in expressions) that ends at or under the sibling. A name that a common parent takes from elsewhere by
`use` counts for the module that it comes from. A parent that uses its children, or they its own items, is no cycle: they
are one module in several files. Code under `#[cfg(test)]` and `#[cfg(doc)]` does not count. Macros are read as they stand.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

NOT_CODE = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | (?<!\w)[bc]?r(?P<hashes>\#*)".*?"(?P=hashes) | "(?:\\.|[^"\\])*" | '(?:\\.[^']*|[^'\\\n])'""",
    re.DOTALL | re.VERBOSE,
)
TOKEN = re.compile(r"(?:r#)?[A-Za-z_]\w*|::|[{}()\[\];,*#!<]")
LEFT_OUT = re.compile(r"#!?\[cfg\((?:all\()?(?:test|doc)\b")
ENDED_BY_SEMICOLON = {"use", "static", "let", "type"}
ITEM = {"mod", "fn", "impl", "struct", "enum", "trait", "unsafe", "async", "extern", "macro_rules", "const"}


class Crate:
    """The modules of one target: what each declares and takes in by `use`, and the paths that its code has."""

    def __init__(self, root):
        self.children = {}  # module: names of its modules
        self.aliases = {}  # module: {name: path as written}
        self.references = []  # (module, path as written, "file:line")
        self.read(root, (), root.parent)

    def read(self, file, module, folder):
        """`folder` is where the files of the module's own modules are."""
        tokens = Tokens(file)
        scopes = [module]  # one for each open brace; None for one that is no module's
        self.declare(module)
        while tokens.more():
            token = tokens.take()
            here = next(scope for scope in reversed(scopes) if scope is not None)
            inside = folder.joinpath(*here[len(module) :])
            if token == "{":
                scopes.append(None)
            elif token == "}":
                scopes.pop()
            elif token == "mod" and tokens.peek(1) in (";", "{"):
                child = (*here, tokens.take())
                self.children[here].add(child[-1])
                self.declare(child)
                if tokens.take() == "{":
                    scopes.append(child)
                elif (child_file := inside / f"{child[-1]}.rs").exists():  # else `#[path]` says where it is
                    self.read(child_file, child, inside / child[-1])
            elif token == "use" and re.match(r"\w|::|{", tokens.peek()):
                for path, name, line in tokens.use_tree(()):
                    self.references.append((here, path, f"{file}:{line}"))
                    if scopes[-1] is not None:
                        self.aliases[here][name] = path
            elif token in ("crate", "super", "self") and tokens.peek() == "::":
                line = tokens.line()
                self.references.append((here, tokens.path(token), f"{file}:{line}"))

    def declare(self, module):
        self.children[module], self.aliases[module] = set(), {}

    def resolve(self, source, path, depth=0):
        """The module at or in which a path ends that `source` has; `None` for what is another crate's."""
        at, first, rest = source, path[0], path[1:]
        if first == "crate":
            at = ()
        elif first == "super":
            at = source[:-1]
        elif first != "self":
            if first not in self.children[source] and first not in self.aliases[source]:
                return None
            rest = path
        while rest and rest[0] == "super":
            at, rest = at[:-1], rest[1:]
        while rest:
            if rest[0] in self.children[at]:
                at, rest = (*at, rest[0]), rest[1:]
            # What a common parent takes in comes from elsewhere; a sibling's re-export is the sibling's.
            elif at == source[: len(at)] and rest[0] in self.aliases[at] and depth < 8:
                return self.resolve(at, (*self.aliases[at][rest[0]], *rest[1:]), depth + 1)
            else:
                break
        return at

    def edges(self):
        """For each module: {(child, child that it depends on): where}."""
        found = {}
        for source, path, where in self.references:
            target = self.resolve(source, path)
            if target is None:
                continue
            common = 0
            while common < min(len(source), len(target)) and source[common] == target[common]:
                common += 1
            if common < min(len(source), len(target)):
                edge = (source[common], target[common])
                found.setdefault(source[:common], {}).setdefault(edge, f"{where}: {'::'.join(path)}")
        return found

    def cycles(self):
        """(parent, modules, {edge: where}) of each set of modules that all depend on each other."""
        for parent, edges in sorted(self.edges().items()):
            reached = {child: reach(child, edges) for child in self.children[parent]}
            groups = {frozenset({a} | {b for b in reached[a] if a in reached[b]}) for a in reached}
            for group in sorted(map(sorted, groups)):
                if len(group) > 1:
                    yield parent, group, {e: edges[e] for e in sorted(edges) if e[0] in group and e[1] in group}


class Tokens:
    """A file's tokens, without comments, literals, and what is compiled only for tests or documentation."""

    def __init__(self, file):
        text = file.read_text(encoding="utf-8")
        text = NOT_CODE.sub(lambda match: "\n" * match[0].count("\n") + " ", text)
        starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self.tokens, line = [], 0
        for match in TOKEN.finditer(text):
            while line < len(starts) and starts[line] <= match.start():
                line += 1
            self.tokens.append((match[0].removeprefix("r#"), line, LEFT_OUT.match(text, match.start())))
        self.next = 0

    def more(self):
        """Whether there is a token, once what is left out has been skipped."""
        while self.next < len(self.tokens) and self.tokens[self.next][2]:
            if self.peek(1) == "!":
                self.next = len(self.tokens)
            while self.peek() == "#":
                self.next += 1
                self.skip_group()
            self.skip_item()
        return self.next < len(self.tokens)

    def skip_group(self):
        depth = 0
        while self.next < len(self.tokens):
            token = self.take()
            depth += (token in "([{") - (token in ")]}")
            if depth == 0:
                return

    def skip_item(self):
        if self.peek() == "pub":
            self.next += 1
            if self.peek() == "(":
                self.skip_group()
        ends = {";", ","}
        if self.peek() in ENDED_BY_SEMICOLON or (self.peek() == "const" and self.peek(2) != "fn" and self.peek(1) != "fn"):
            ends = {";"}
        elif self.peek() in ITEM:
            ends = {";", "{"}
        while self.next < len(self.tokens) and self.peek() not in ends | {"}"}:
            self.skip_group() if self.peek() in ("(", "[", "{") else self.take()
        if self.peek() == "{":
            self.skip_group()
        elif self.peek() in ends:
            self.next += 1

    def peek(self, ahead=0):
        return self.tokens[self.next + ahead][0] if self.next + ahead < len(self.tokens) else ""

    def take(self):
        self.next += 1
        return self.tokens[self.next - 1][0]

    def line(self):
        return self.tokens[self.next - 1][1]

    def path(self, first):
        segments = [first]
        while self.peek() == "::" and re.match(r"\w", self.peek(1)):
            self.next += 1
            segments.append(self.take())
        return tuple(segments)

    def use_tree(self, before):
        """[(path, the name that it gets, line)] of a `use` tree; what is not a module's own stays as it is."""
        if self.peek() == "::":
            self.next += 1
        if self.peek() == "*":
            self.next += 1
            return [(before, "*", self.line())] if before else []
        if self.peek() == "{":
            self.next += 1
            paths = []
            while self.more() and self.peek() != "}":
                paths += self.use_tree(before)
                if self.peek() == ",":
                    self.next += 1
            self.next += 1
            return paths
        path = (*before, *self.path(self.take()))
        line = self.line()
        if len(path) > 1 and path[-1] == "self":
            path = path[:-1]
        if self.peek() == "::":
            return self.use_tree(path)
        name = path[-1]
        if self.peek() == "as":
            self.next += 1
            name = self.take()
        return [(path, name, line)]


def reach(start, edges):
    reached, waiting = set(), [start]
    while waiting:
        at = waiting.pop()
        for before, after in edges:
            if before == at and after not in reached:
                reached.add(after)
                waiting.append(after)
    return reached


def targets(wanted):
    """(package, root file) of each library and program of the workspace."""
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1", "--locked", "--offline"]
    metadata = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    for package in metadata["packages"]:
        if not wanted or package["name"] in wanted or package["name"].removeprefix("penstock-") in wanted:
            for target in package["targets"]:
                if {"lib", "bin"} & set(target["kind"]):
                    yield package["name"], Path(target["src_path"])


def main(wanted):
    found = 0
    for package, root in targets(wanted):
        for parent, group, edges in Crate(root).cycles():
            found += 1
            print(f"{package}: modules of {'::'.join(('crate', *parent))} in a cycle: {', '.join(group)}")
            for (before, after), where in edges.items():
                print(f"  {before} -> {after}  {where.removeprefix(f'{Path.cwd()}/')}")
    sys.exit(1 if found else 0)


# --- the test -----------------------------------------------------------------------------------------------

SOUND = {
    "lib.rs": "pub mod a; pub mod b; mod c; mod d; pub use a::{Item, part::{self, Part as Renamed}};",
    # A parent and its own modules use each other.
    "a.rs": "mod one; pub mod part; pub struct Item(one::One);",
    "a/one.rs": "use super::{Item, part::Part}; pub(super) struct One(Part);",
    "a/part.rs": "pub struct Part; #[cfg(test)] mod tests { use crate::b::Unused; fn f() { super::super::one::f() } }",
    # Comments, literals, tests, documentation and other crates' modules of the same name are no references.
    "b.rs": """//! See crate::c::C.
        use std::{fmt::{self, Debug}, mem as c}; use crate::{Item, Renamed};
        #[cfg(test)] use crate::c::Test; #[cfg(doc)] use crate::c::Doc; #[cfg(test)] mod tests;
        /* crate::c */ pub fn f<'a>(x: &'a str) -> char { let _ = (r#"crate::c"#, "\\"crate::c"); c::drop(x); '"' }
        #[cfg(test)] pub(crate) fn g() -> [u8; 2] { crate::c::f() }""",
    "b/tests.rs": "use crate::c::C;",
    "c.rs": "use crate::{b, part::Part}; pub(crate) fn f() -> impl Sized + use<> { b::f(r#type) }",
    "d.rs": "#![cfg(test)] use crate::d;",
}
# What is put in the place of a file above, with the cycle that it makes: parent, modules, where the first edge is.
CYCLES = [
    ({"b.rs": "fn f() { if crate::c::f() {} }"}, ("", "b c", "b.rs:1")),
    ({"b.rs": "use std::fmt;\n\nuse crate::{\n    Item,\n    c::C,\n};"}, ("", "b c", "b.rs:5")),
    ({"a/one.rs": "use crate::b::f;"}, ("", "a b", "one.rs:1")),  # by a re-export at the crate's root
    ({"a/part.rs": "pub struct Part; fn f() { super::one::f() }"}, ("a", "one part", "one.rs:1")),
    ({"a/part.rs": "mod x { use super::super::one::One; }"}, ("a", "one part", "one.rs:1")),
    ({"a/part.rs": "use super::One;", "a.rs": "mod one; mod part; use one::One;"}, ("a", "one part", "one.rs:1")),
    ({"a.rs": "use super::c::C; mod one; pub mod part;"}, ("", "a b c", "a.rs:1")),
    ({"lib.rs": "mod a { pub use crate::b::B; } mod b; use a::Item;"}, ("", "a b", "lib.rs:1")),
    ({"lib.rs": "mod a { pub use crate::e::E; use crate::c::C; } mod c { use crate::a::E; } mod e {}"}, ("", "a c", "lib.rs:1")),
]


def self_test():
    for changed, expected in [({}, None), *CYCLES]:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in {**SOUND, **changed}.items():
                Path(folder, name).parent.mkdir(exist_ok=True)
                Path(folder, name).write_text(text, encoding="utf-8")
            found = list(Crate(Path(folder, "lib.rs")).cycles())
        if expected is None:
            assert not found, f"a sound tree has {found}"
            continue
        parent, group, first = expected
        assert [(*found[0][:2],)] == [(tuple(parent.split()), group.split())], f"{changed} has {found}"
        assert f"/{first}: " in next(iter(found[0][2].values())), f"{changed} has {found}"


if __name__ == "__main__":
    self_test() if sys.argv[1:] == ["--self-test"] else main(sys.argv[1:])
