"""Tax ids of customers, and whether they were verified. Source: docs.stripe.com/billing/customer/tax-ids.

In test mode `000000000` is verified, `111111111` is not, anything else of a verifiable type is verified too;
the answer of the registry comes a few seconds later (our reading).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from millrace_lab import lists
from millrace_lab.account import Step, owned, refuse_unless
from millrace_lab.errors import Body
from millrace_lab.operations import DueAction, Operation, Page
from millrace_lab.params import ListParams, NoParams, NotHere, Params

VERIFIED_AFTER = 5  # seconds
VERIFIABLE = frozenset({"au_abn", "eu_vat", "gb_vat"})
COUNTRY_OF_VALUE = frozenset({"eu_vat"})  # its number begins with the country
MOST = 5  # tax ids a customer may have

Kind = Literal[
    "ad_nrt", "ae_trn", "al_tin", "am_tin", "ao_tin", "ar_cuit", "au_abn", "au_arn", "aw_tin", "az_tin",
    "ba_tin", "bb_tin", "bd_bin", "bf_ifu", "bg_uic", "bh_vat", "bj_ifu", "bo_tin", "br_cnpj", "br_cpf",
    "bs_tin", "by_tin", "ca_bn", "ca_gst_hst", "ca_pst_bc", "ca_pst_mb", "ca_pst_sk", "ca_qst", "cd_nif",
    "ch_uid", "ch_vat", "cl_tin", "cm_niu", "cn_tin", "co_nit", "cr_tin", "cv_nif", "de_stn", "do_rcn",
    "ec_ruc", "eg_tin", "es_cif", "et_tin", "eu_oss_vat", "eu_vat", "fo_vat", "gb_vat", "ge_vat", "gi_tin",
    "gn_nif", "hk_br", "hr_oib", "hu_tin", "ic_nif", "id_npwp", "il_vat", "in_gst", "is_vat", "it_cf",
    "jp_cn", "jp_rn", "jp_trn", "ke_pin", "kg_tin", "kh_tin", "kr_brn", "kz_bin", "la_tin", "li_uid",
    "li_vat", "lk_vat", "ma_vat", "md_vat", "me_pib", "mk_vat", "mr_nif", "mx_rfc", "my_frp", "my_itn",
    "my_sst", "ng_tin", "no_vat", "no_voec", "np_pan", "nz_gst", "om_vat", "pe_ruc", "ph_tin", "pl_nip",
    "py_ruc", "ro_tin", "rs_pib", "ru_inn", "ru_kpp", "sa_vat", "sg_gst", "sg_uen", "si_tin", "sn_ninea",
    "sr_fin", "sv_nit", "th_vat", "tj_tin", "tr_tin", "tw_vat", "tz_vat", "ua_vat", "ug_tin", "us_ein",
    "uy_ruc", "uz_tin", "uz_vat", "ve_rif", "vn_tin", "za_vat", "zm_tin", "zw_tin",
]  # fmt: skip


class TaxIdData(Params):
    type: Kind
    value: Annotated[str, Field(min_length=1, max_length=100)]


class Owner(Params):
    type: Literal["customer", "self"]
    customer: str | None = None
    account: NotHere = None
    customer_account: NotHere = None


class CreateTaxId(TaxIdData):
    owner: Owner = Owner(type="self")


class ListTaxIds(ListParams):
    owner: Owner | None = None


def add(step: Step, customer: str | None, data: TaxIdData) -> Body:
    """A tax id of a customer (None: of the account itself), told as created."""
    refuse_unless(
        customer is None or len(step.of("tax_id", customer)) < MOST,
        f"A customer may have at most {MOST} tax IDs.",
    )
    pending = data.type in VERIFIABLE and customer is not None
    tax_id = step.add(
        {
            "id": step.new_id("txi"),
            "object": "tax_id",
            "country": _country(data),
            "created": step.now,
            "customer": customer,
            "customer_account": None,
            "livemode": step.account.livemode,
            "owner": {"type": "customer", "customer": customer} if customer else {"type": "self"},
            "type": data.type,
            "value": data.value,
            "verification": _verification("pending" if pending else "unavailable") if customer else None,
        },
        customer,
    )
    if customer is not None:
        step.tell("customer.tax_id.created", tax_id)
    if pending:
        step.due(tax_id["id"], "tax_id.verify", step.now + VERIFIED_AFTER)
    return tax_id


def verify(step: Step, tax_id: Body) -> None:
    """The registry has answered."""
    unknown = tax_id["value"].endswith("111111111")
    step.change(tax_id["id"], verification=_verification("unverified" if unknown else "verified"))
    step.updated("customer.tax_id.updated", tax_id)


def _verification(status: str) -> Body:
    return {"status": status, "verified_address": None, "verified_name": None}


def _country(data: TaxIdData) -> str | None:
    text = data.value if data.type in COUNTRY_OF_VALUE else data.type
    return text[:2].upper() if text[:2].isalpha() and data.type != "eu_oss_vat" else None


def of(step: Step, customer: Body) -> Body:
    """`tax_ids`, where it is expanded."""
    found = step.of("tax_id", customer["id"])[::-1]
    return lists.listed(found, f"/v1/customers/{customer['id']}/tax_ids", most=10)


def create(step: Step, params: TaxIdData, customer: str) -> Body:
    return add(step, step.get("customer", customer)["id"], params)


def retrieve(step: Step, _: NoParams, customer: str, id_: str) -> Body:
    return owned(step, "tax_id", id_, customer, "customer")


def delete(step: Step, _: NoParams, customer: str, id_: str) -> Body:
    return _delete(step, retrieve(step, _, customer, id_))


def listing(step: Step, params: ListParams, customer: str) -> Page:
    step.get("customer", customer)
    return lists.page(step, "tax_id", params, f"/v1/customers/{customer}/tax_ids", parent=customer)


def _delete(step: Step, tax_id: Body) -> Body:
    step.remove(tax_id["id"])
    if tax_id["customer"]:
        step.tell("customer.tax_id.deleted", tax_id)
    return {"id": tax_id["id"], "object": "tax_id", "deleted": True}


def create_for_owner(step: Step, params: CreateTaxId) -> Body:
    data = TaxIdData(type=params.type, value=params.value)
    if params.owner.type == "self":
        return add(step, None, data)
    return add(step, step.get("customer", str(params.owner.customer), "owner[customer]")["id"], data)


def retrieve_any(step: Step, _: NoParams, id_: str) -> Body:
    return step.get("tax_id", id_)


def delete_any(step: Step, _: NoParams, id_: str) -> Body:
    return _delete(step, step.get("tax_id", id_))


def listing_of_owner(step: Step, params: ListTaxIds) -> Page:
    """The account's own ones, or a customer's."""
    wanted = params.owner.customer if params.owner else None
    return lists.page(step, "tax_id", params, "/v1/tax_ids", lambda tax_id: tax_id["customer"] == wanted)


DUE: dict[str, DueAction] = {"tax_id.verify": verify}
OPERATIONS = (
    Operation("POST /v1/customers/{customer}/tax_ids", create, TaxIdData),
    Operation("GET /v1/customers/{customer}/tax_ids/{id}", retrieve),
    Operation("DELETE /v1/customers/{customer}/tax_ids/{id}", delete),
    Operation("GET /v1/customers/{customer}/tax_ids", listing, ListParams),
    Operation("POST /v1/tax_ids", create_for_owner, CreateTaxId),
    Operation("GET /v1/tax_ids/{id}", retrieve_any),
    Operation("DELETE /v1/tax_ids/{id}", delete_any),
    Operation("GET /v1/tax_ids", listing_of_owner, ListTaxIds),
)
