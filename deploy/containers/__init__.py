"""Images of the services: their recipe's parts, their bill of materials, their rules."""
