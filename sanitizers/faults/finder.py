# SPDX-License-Identifier: Apache-2.0
"""The faults of one file: its syntax tree is walked, and each kind of place has its faults.

Left out are constant expressions (constexpr functions and variables, static_assert, case labels, template arguments,
sizes of arrays), default arguments and initializers of members, and all that a macro expands to.
"""
from .statements import Place, Statements


class Finder(Statements):
    """Finds the faults of one file in a translation unit that contains it."""

    def __init__(self, unit, name, path, kinds):
        """@param name: the file as the translation unit names it. @param path: from the top of the tree."""
        super().__init__(unit, name, path, kinds)
        K = self.K
        self.visitors = {**self.expression_visitors(), **self.statement_visitors()}
        self.functions = {K.FUNCTION_DECL, K.CXX_METHOD, K.CONSTRUCTOR, K.DESTRUCTOR, K.CONVERSION_FUNCTION,
                          K.FUNCTION_TEMPLATE}
        self.scopes = {K.NAMESPACE, K.LINKAGE_SPEC, K.UNEXPOSED_DECL, K.CLASS_DECL, K.STRUCT_DECL, K.UNION_DECL,
                       K.CLASS_TEMPLATE, K.CLASS_TEMPLATE_PARTIAL_SPECIALIZATION, K.FRIEND_DECL}
        self.not_evaluated = {K.STATIC_ASSERT, K.CXX_UNARY_EXPR, K.PARM_DECL, K.ASM_STMT, K.MS_ASM_STMT, K.TYPE_REF,
                              K.TEMPLATE_REF, K.NAMESPACE_REF, K.MEMBER_REF, K.TYPEDEF_DECL, K.TYPE_ALIAS_DECL,
                              K.USING_DECLARATION, K.ENUM_DECL}

    def find(self):
        for cursor in self.unit.cursor.get_children():
            if self.is_here(cursor):
                self._visit_scope(cursor)
        return sorted(self.faults)

    def _visit_scope(self, cursor):
        if cursor.kind in self.functions:
            self._visit_function(cursor)
        elif cursor.kind in self.scopes:
            for child in cursor.get_children():
                if self.is_here(child):
                    self._visit_scope(child)

    def _visit_function(self, cursor):
        children = list(cursor.get_children())
        if not children or children[-1].kind not in (self.K.COMPOUND_STMT, self.K.CXX_TRY_STMT):
            return
        body = children[-1]
        if self.has_word_before(cursor, body.extent.start.offset, ("constexpr", "consteval")):
            return
        place = Place(cursor)
        if cursor.kind == self.K.CONSTRUCTOR:
            for child in children[:-1]:
                if child.kind.is_expression() and not child.kind.is_attribute():
                    self._visit(child, place)
        self._visit(body, place)

    def _visit(self, cursor, place):
        kind = cursor.kind
        if kind in self.not_evaluated or kind.is_attribute():
            return
        if kind in self.scopes:
            self._visit_scope(cursor)
            return
        visitor = self.visitors.get(kind)
        if visitor is not None:
            visitor(cursor, place)
        else:
            self._visit_children(cursor, place)

    def _visit_children(self, cursor, place):
        for child in cursor.get_children():
            self._visit(child, place)
