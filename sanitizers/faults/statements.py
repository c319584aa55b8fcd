# SPDX-License-Identifier: Apache-2.0
"""The faults of statements and of variables."""
from .collector import IS_ACTIVE, NUMBER
from .expressions import Expressions
from .parsing import clang


class Place:
    """A place in the walk: the enclosing function, and whether that is a lambda."""

    def __init__(self, function, is_lambda=False):
        self.function = function
        self.is_lambda = is_lambda


class Statements(Expressions):
    """Visits statements. The class derived from it has _visit() and _visit_children()."""

    def statement_visitors(self):
        K = self.K
        return {
            K.IF_STMT: self._visit_if, K.WHILE_STMT: self._visit_while, K.DO_STMT: self._visit_do,
            K.FOR_STMT: self._visit_for, K.CXX_FOR_RANGE_STMT: self._visit_range_for,
            K.COMPOUND_STMT: self._visit_compound, K.CASE_STMT: self._visit_case, K.DEFAULT_STMT: self._visit_default,
            K.RETURN_STMT: self._visit_return, K.VAR_DECL: self._visit_variable, K.LAMBDA_EXPR: self._visit_lambda,
        }

    def _visit_compound(self, cursor, place):
        for child in cursor.get_children():
            self._visit_statement(child, place)

    def _visit_case(self, cursor, place):
        for child in list(cursor.get_children())[1:]:
            self._visit_statement(child, place)

    def _visit_default(self, cursor, place):
        for child in cursor.get_children():
            self._visit_statement(child, place)

    def _visit_statement(self, cursor, place):
        """A statement, which may be an expression: that can be left out."""
        if cursor.kind.is_expression():
            bare = self.bare(cursor)
            kind = {self.K.CALL_EXPR: "call", self.K.CXX_DELETE_EXPR: "call",
                    self.K.COMPOUND_ASSIGNMENT_OPERATOR: "assignment",
                    self.K.UNARY_OPERATOR: "assignment"}.get(bare.kind)
            if self.operator_of(bare) == "Assign" or (kind == "call" and bare.spelling in ("operator=", "operator+=")):
                kind = "assignment"
            if kind and not self._never_returns(bare) and not self._does_nothing(bare):
                self.add(kind, cursor.extent.start.offset, cursor.extent.end.offset,
                          f"({IS_ACTIVE} ? (void)0 : (void)(", "))", "(nothing)")
        self._visit(cursor, place)

    def _never_returns(self, call):
        """@return whether the call never returns. Without it, execution would run past the end of the function."""
        called = call.referenced
        if call.kind != self.K.CALL_EXPR or called is None:
            return False
        attributes = [child for child in called.get_children() if child.kind.is_attribute()]
        return "noreturn" in called.type.spelling or any(
            "noreturn" in token.spelling for attribute in attributes for token in attribute.get_tokens())

    def _does_nothing(self, call):
        """Whether it calls a function whose body is empty, such as one that only annotates for the compiler."""
        is_call = call.kind == self.K.CALL_EXPR and call.referenced is not None
        called = call.referenced.get_definition() if is_call else None
        children = called.get_children() if called else ()
        body = next((child for child in children if child.kind == self.K.COMPOUND_STMT), None)
        return body is not None and not list(body.get_children())

    def _visit_condition(self, cursor, place, may_be_dropped):
        self.negate(cursor)
        if may_be_dropped:
            self.drop(cursor, "false", "false")
        self._visit(cursor, place)

    def _visit_if(self, cursor, place):
        children = list(cursor.get_children())
        is_constant = self.has_word_before(cursor, children[0].extent.start.offset, ("constexpr",))
        declares = [child for child in children if child.kind in (self.K.VAR_DECL, self.K.DECL_STMT)]
        statements = []
        condition = None
        for child in children:
            within = any(each.extent.start.offset <= child.extent.start.offset and
                         child.extent.end.offset <= each.extent.end.offset for each in declares if each != child)
            if within:
                continue
            if condition is None and child.kind.is_expression() and not statements and not any(
                    each.kind == self.K.VAR_DECL for each in declares):
                condition = child
            elif child in declares and condition is None:
                if not is_constant:
                    self._visit(child, place)
            else:
                statements.append(child)
        if condition is not None and not is_constant:
            self._visit_condition(condition, place, may_be_dropped=True)
        for statement in statements:
            self._visit_statement(statement, place)

    def _visit_while(self, cursor, place):
        *conditions, body = cursor.get_children()
        if len(conditions) == 1 and conditions[0].kind.is_expression():
            self._visit_condition(conditions[0], place, may_be_dropped=True)
        else:
            for child in conditions:
                if not child.kind.is_expression():
                    self._visit(child, place)
        self._visit_statement(body, place)

    def _visit_do(self, cursor, place):
        body, condition = cursor.get_children()
        self._visit_statement(body, place)
        self._visit_condition(condition, place, may_be_dropped=True)

    def _visit_for(self, cursor, place):
        *head, body = cursor.get_children()
        semicolons = []
        depth = 0
        for offset, text in self.tokens_between(cursor.extent.start.offset, body.extent.start.offset):
            depth += text in ("(", "{", "[")
            depth -= text in (")", "}", "]")
            if text == ";" and depth == 1:
                semicolons.append(offset)
        for child in head:
            is_condition = len(semicolons) == 2 and semicolons[0] < child.extent.start.offset < semicolons[1]
            if is_condition and child.kind.is_expression():
                self._visit_condition(child, place, may_be_dropped=True)
            else:
                self._visit(child, place)
        self._visit_statement(body, place)

    def _visit_range_for(self, cursor, place):
        *head, body = cursor.get_children()
        for child in head:
            if child.kind.is_expression():
                self._visit(child, place)
            else:
                self._visit_children(child, place)
        self._visit_statement(body, place)

    def _visit_return(self, cursor, place):
        children = list(cursor.get_children())
        if not children:
            return
        value = children[0]
        self._replace_result(cursor, value, place)
        self._visit(value, place)

    def _replace_result(self, statement, value, place):
        bare = self.bare(value)
        text = self.text_of(value)
        T = clang().TypeKind
        kind = value.type.get_canonical().kind if place.is_lambda else place.function.result_type.get_canonical().kind
        if bare.kind in (self.K.INTEGER_LITERAL, self.K.CXX_BOOL_LITERAL_EXPR, self.K.CXX_NULL_PTR_LITERAL_EXPR):
            return  # a literal: the kind `constant` changes it, or the fault would return the same value
        if kind == T.BOOL:
            self.negate(value)
        elif kind == T.POINTER or T.BOOL.value < kind.value <= T.LONGDOUBLE.value or kind == T.ENUM:
            zero = f"doorbell_faults::zero<decltype({text})>()"
            self.replace("returned", value, zero, "nullptr" if kind == T.POINTER else "0")
        elif (kind not in (T.VOID, T.LVALUEREFERENCE, T.RVALUEREFERENCE) and not place.is_lambda
              and not self._is_deduced(place)):
            end = statement.extent.end.offset
            if self.text[end:end + 1] == b";" and text.replace(" ", "") not in ("{}", "std::nullopt"):
                self.add("returned", statement.extent.start.offset, end + 1,
                          f"{{ if ({IS_ACTIVE}) return {{}}; ", " }", "return {};")

    def _is_deduced(self, place):
        """Whether the function returns `auto`: an empty object has no type to be deduced."""
        return "auto" in place.function.result_type.spelling.split()

    def _visit_variable(self, cursor, place):
        end = cursor.location.offset
        if self.has_word_before(cursor, end, ("constexpr", "static", "constinit", "extern")):
            return
        self._leave_scope_out(cursor, place)
        # Before the name stands the type, and in brackets behind it the size of an array.
        depth = 0
        for offset, text in self.tokens_between(end, cursor.extent.end.offset)[1:]:
            if depth == 0 and text != "[":
                break
            depth += {"[": 1, "]": -1}.get(text, 0)
            end = offset
        for child in cursor.get_children():
            if child.extent.start.offset > end:
                self._visit(child, place)

    def _leave_scope_out(self, cursor, place):
        """For a variable that is not used: its only purposes are its constructor and its destructor."""
        start, end = cursor.extent.start.offset, cursor.location.offset
        following = self.text[end + len(cursor.spelling.encode()):].lstrip()[:1]
        if cursor.type.get_canonical().kind != clang().TypeKind.RECORD or following not in (b"{", b"(", b";"):
            return
        declared = cursor.type.get_declaration()
        if not any(each.kind == self.K.DESTRUCTOR for each in declared.get_children()) or self._is_used(cursor, place):
            return
        written = self.text_between(start, end).strip()
        if not written or "auto" in written.split():
            return
        length = len(self.text_between(start, end).rstrip().encode())
        self.add("scope", start, start + length, f"::doorbell_faults::skipped_scope<{NUMBER}, ", ">",
                  f"(no {cursor.spelling})")

    def _is_used(self, variable, place):
        if not hasattr(place, "used"):
            place.used = {each.referenced.hash for each in place.function.walk_preorder()
                          if each.kind == self.K.DECL_REF_EXPR and each.referenced is not None}
        return variable.hash in place.used

    def _visit_lambda(self, cursor, place):
        inner = Place(place.function, is_lambda=True)
        for child in cursor.get_children():
            if child.kind == self.K.COMPOUND_STMT:
                self._visit(child, inner)
            elif child.kind.is_expression() and child.extent.end.offset - child.extent.start.offset > 1:
                self._visit_capture(child, place)

    def _visit_capture(self, cursor, place):
        """An initializer of a capture. A capture by name is only a name, and the text of a fault cannot enclose it."""
        if self.bare(cursor).kind not in (self.K.DECL_REF_EXPR, self.K.VARIABLE_REF):
            self._visit(cursor, place)
