# SPDX-License-Identifier: Apache-2.0
"""The faults of expressions."""
import errno

from .collector import Collector

NEXT_COMPARISON = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
NEUTRAL = {"&&": "true", "||": "false"}  # for the operand that is left out


class Expressions(Collector):
    """Visits expressions. The class derived from it has _visit() and _visit_children(), which visit any cursor."""

    def expression_visitors(self):
        K = self.K
        return {
            K.CONDITIONAL_OPERATOR: self._visit_conditional, K.BINARY_OPERATOR: self._visit_binary,
            K.INTEGER_LITERAL: self._visit_integer, K.CXX_BOOL_LITERAL_EXPR: self._visit_bool,
            K.DECL_REF_EXPR: self._visit_reference, K.MEMBER_REF_EXPR: self._visit_member,
            K.CALL_EXPR: self._visit_call,
        }

    def _visit_conditional(self, cursor, place):
        children = list(cursor.get_children())
        self.negate(children[0])
        self._visit_children(cursor, place)

    def _visit_binary(self, cursor, place):
        operands = list(cursor.get_children())
        if len(operands) == 2 and cursor.binary_operator.name != "Invalid":
            sign = self._sign(operands)
            left, right = (self.text_of(each) for each in operands)
            if sign in NEXT_COMPARISON:
                self.replace("comparison", cursor, f"({left}) {NEXT_COMPARISON[sign]} ({right})",
                              f"{left} {NEXT_COMPARISON[sign]} {right}")
            elif sign in ("==", "!="):
                self.negate(cursor)
            elif sign in NEUTRAL:
                self._drop_operands(sign, operands, (right, left))
            elif sign == "|":
                self._drop_flags(cursor, operands)
            if sign in NEXT_COMPARISON:  # a bound plus one is the neighbouring comparison
                operands = [each for each in operands if self.bare(each).kind != self.K.INTEGER_LITERAL]
        for operand in operands:
            self._visit(operand, place)

    def _drop_operands(self, sign, operands, others):
        """Each operand of a && b && c, but not a && b as a whole."""
        for operand, other in zip(operands, others):
            bare = self.bare(operand)
            inner = list(bare.get_children())
            if self.operator_of(bare) in ("LAnd", "LOr") and self._sign(inner) == sign:
                continue
            self.drop(operand, NEUTRAL[sign], f"(only) {other}")

    def _sign(self, operands):
        """The operator as it is written between the operands."""
        for _, text in self.tokens_between(operands[0].extent.end.offset, operands[1].extent.start.offset):
            if text not in ("(", ")"):
                return text
        return ""

    def _drop_flags(self, cursor, operands):
        for dropped, kept in zip(operands, reversed(operands)):
            is_constant = self.bare(dropped).kind in (self.K.INTEGER_LITERAL, self.K.DECL_REF_EXPR) or (
                dropped.extent.start.offset, dropped.extent.end.offset) in self.object_like
            if is_constant:
                self.replace("flag", cursor, f"({self.text_of(kept)})", self.text_of(kept))

    def _visit_call(self, cursor, place):
        operands = [each for each in cursor.get_children() if each.kind.is_expression()]
        if cursor.spelling == "operator|" and len(operands) == 3:  # the operator is one of them
            self._drop_flags(cursor, [operands[0], operands[2]])
        if cursor.spelling in ("operator==", "operator!="):
            self.negate(cursor)
        self._visit_children(cursor, place)

    def _visit_integer(self, cursor, place):
        start, end = cursor.extent.start.offset, cursor.extent.end.offset
        name = self.object_like.get((start, end))
        text = self.text_between(start, end)
        if name is None and text[:1].isdigit():
            self.replace("constant", cursor, f"{text} + 1")
        elif name is not None and name in errno.errorcode.values() or name == "EWOULDBLOCK":
            self.replace("errno", cursor, "EAGAIN" if name == "EINVAL" else "EINVAL")

    def _visit_bool(self, cursor, place):
        if self.text_of(cursor) in ("true", "false"):
            other = "false" if self.text_of(cursor) == "true" else "true"
            self.replace("constant", cursor, other)

    def _visit_reference(self, cursor, place):
        """Exchanges the name of an error or of a memory order, except in template arguments, which are constants."""
        text = self.text_of(cursor)
        name = cursor.spelling
        declared = cursor.referenced
        if declared is not None and declared.kind == self.K.ENUM_CONSTANT_DECL:
            enumeration = declared.semantic_parent.spelling
            if enumeration in ("errc", "errc_t", "basic_errors") and text.endswith(name):
                other = "resource_unavailable_try_again" if name == "invalid_argument" else "invalid_argument"
                if enumeration == "basic_errors":
                    other = "bad_descriptor" if name == "invalid_argument" else "invalid_argument"
                self.replace("errno", cursor, text[:-len(name)] + other)
        elif name.startswith("memory_order_") and name != "memory_order_relaxed" and text.endswith(name):
            self.replace("order", cursor, text[:-len(name)] + "memory_order_relaxed")

    def _visit_member(self, cursor, place):
        """Visits the object of a member access. Only template arguments follow the member's name."""
        for child in cursor.get_children():
            if child.kind.is_expression() and child.extent.start.offset == cursor.extent.start.offset:
                self._visit(child, place)
                break
