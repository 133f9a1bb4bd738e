"""What is billed: invoice items, invoices from draft to their end, invoice payments, credit notes."""
