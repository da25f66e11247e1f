package server

var SenderOf = senderOf
