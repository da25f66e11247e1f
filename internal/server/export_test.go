package server

var SenderOf = senderOf

var NewAbsenceHandler = newAbsenceHandler
