### Alles, was auf den Seiten steht, auf Deutsch. Werte stehen für Namen und Adressen; kein Text enthält HTML.

language-name = Deutsch
language-menu = Sprache

## Auf vielen Seiten

back-to-sign-in = Zurück zur Anmeldung
continue = Weiter
another-account = Anderes Konto verwenden
sign-in = Anmelden
sign-in-again = Erneut anmelden
sign-out = Abmelden
signed-in-as = Sie sind als { $who } angemeldet.
signed-in-as-named = Sie sind als { $who } ({ $email }) angemeldet.
request-id = Kennung der Anfrage:
form-out-of-date = Dieses Formular war veraltet. Bitte senden Sie es noch einmal.
field-account = Konto
field-email = E-Mail
field-name = E-Mail oder Benutzername
field-password = Passwort
field-new-password = Neues Passwort
field-first-name = Vorname (freiwillig)
field-last-name = Nachname (freiwillig)
email-wrong = Bitte geben Sie eine E-Mail-Adresse wie ann@example.com ein.
field-wrong = Bitte geben Sie höchstens 200 Zeichen ein, ohne Zeilenumbrüche und andere Steuerzeichen.
cannot-store = Das lässt sich nicht speichern. Bitte prüfen Sie Ihre Eingaben.

## Anmelden

sign-in-new-password = Ihr neues Passwort ist gesetzt. Bitte melden Sie sich damit an.
sign-in-form-lost = Ihr Formular wurde nicht gesendet, weil Sie nicht angemeldet waren. Bitte melden Sie sich an und senden Sie es dann noch einmal.
sign-in-remember = Auf diesem Gerät angemeldet bleiben
sign-in-wrong = Die E-Mail-Adresse, der Benutzername oder das Passwort stimmt nicht.
sign-in-unverified = Ihre E-Mail-Adresse ist noch nicht bestätigt. Bitte öffnen Sie den Link, der Ihnen geschickt wurde.
sign-in-out-of-date = Dieses Formular war veraltet. Bitte melden Sie sich noch einmal an.
sign-in-name-missing = Bitte geben Sie Ihre E-Mail-Adresse ein.
sign-in-password-missing = Bitte geben Sie Ihr Passwort ein.
sign-in-too-many = Es gab zu viele Anmeldeversuche. Bitte warten Sie eine Weile.
signed-in-heading = Sie sind angemeldet
sign-out-out-of-date = Das Formular war veraltet, Sie sind also noch angemeldet. Bitte drücken Sie den Knopf noch einmal.

## Warum eine Anmeldung nicht hält

diagnosis-heading = Die Anmeldung hielt nicht
diagnosis-blocked = Ihr Browser hat das Cookie nicht zurückgesendet, das Sie angemeldet hält: Cookies sind für { $host } gesperrt.
diagnosis-blocked-remedy = Erlauben Sie Cookies für diese Website (ein privates Fenster, eine Erweiterung oder eine Einstellung kann sie sperren), und melden Sie sich dann erneut an.
diagnosis-insecure = Das Cookie, das Sie angemeldet hält, darf nur über { $https } gesendet werden. Diese Seite kam aber über { $http }, also hat Ihr Browser es verworfen.
diagnosis-insecure-remedy = Öffnen Sie die Adresse mit { $https }. Haben Sie das getan, muss die Verwaltung den Proxy vor dem Gateway unter { $proxies } eintragen oder { $url } auf die Adresse setzen, die alle verwenden.
diagnosis-host = Sie haben sich auf einem anderen Host angemeldet als dem, den Sie verwenden wollen, und Cookies eines Hosts werden nicht an den anderen gesendet.
diagnosis-hosts = Die Hosts sind { $host } und { $other }.
diagnosis-host-remedy = Verwenden Sie immer dieselbe Adresse. Gehören diese Hosts zusammen, muss die Verwaltung { $domain } auf ihre gemeinsame Domain setzen.
diagnosis-clock = Ihr Browser hat das Cookie gesendet, das Sie angemeldet hält, aber die Sitzung dazu gilt als beendet.
diagnosis-clock-remedy = Meist gehen die Uhren der Rechner verschieden: Die Verwaltung muss die Uhr der Rechner des Gateways stellen. Hat gerade jemand Ihre Sitzungen beendet, melden Sie sich erneut an.

## Vergessene Passwörter

forgot-heading = Passwort vergessen?
forgot-what = Geben Sie die E-Mail-Adresse Ihres Kontos ein. Sie bekommen einen Link, mit dem Sie ein neues Passwort wählen können.
forgot-send = Link senden
forgot-too-many = Es wurden zu viele E-Mails angefordert. Bitte warten Sie eine Weile.
check-mail-heading = Sehen Sie in Ihre Post
check-mail-reset = Gibt es ein Konto für { $email }, so ist ein Link unterwegs, mit dem Sie ein neues Passwort wählen können. Er gilt eine Stunde lang und nur einmal.
check-mail-nothing = Ist nach einigen Minuten nichts gekommen? Sehen Sie im Spam-Ordner nach, und prüfen Sie, ob die Adresse stimmt.
reset-heading = Neues Passwort wählen
reset-password-hint = { $count ->
    [one] Mindestens ein Zeichen.
   *[other] Mindestens { $count } Zeichen.
} Sie werden überall abgemeldet, und jede Verknüpfung Ihres Kontos mit einem Anbieter wird gelöst; Sie können sie neu anlegen.
reset-set = Neues Passwort setzen

## Links

link-over-heading = Dieser Link gilt nicht mehr
link-over-reset = Ein Link zum Setzen eines Passworts gilt nur einmal, eine Stunde lang, und nur, bis ein anderer erstellt wird oder sich Passwort oder E-Mail-Adresse ändern. Fordern Sie einen neuen an.
link-over-verify = Ein Link zum Bestätigen einer E-Mail-Adresse gilt nur einmal, eine Stunde lang, und nur, bis ein anderer erstellt wird oder sich die Adresse ändert. Fordern Sie einen neuen an.
link-over-again = Einen anderen Link anfordern
link-lost-heading = Bitte öffnen Sie den Link noch einmal
link-lost-what = Diese Seite wird durch einen Link geöffnet, und Ihr Browser hat nicht behalten, durch welchen.
link-lost-remedy = Führt der Link wieder hierher, sind Cookies für { $host } gesperrt. Erlauben Sie sie für diese Website (ein privates Fenster, eine Erweiterung oder eine Einstellung kann sie sperren), und öffnen Sie dann den Link.
link-too-many = Es gab zu viele Versuche. Bitte warten Sie eine Weile.
verify-heading = E-Mail-Adresse bestätigen
verify-what = Drücken Sie den Knopf, wenn { $email } Ihre E-Mail-Adresse ist und Sie damit hier ein Konto angelegt haben.
verify-button = Diese Adresse bestätigen
verified-heading = Ihre E-Mail-Adresse ist bestätigt

## Einladungen

invitation-heading = Konto anlegen
invitation-what = Sie sind eingeladen. Wählen Sie ein Passwort, und Ihr Konto ist angelegt.
invitation-signed-in = Sie sind als { $who } angemeldet; mit dem Knopf werden Sie zu { $email }.
invitation-accept = Konto anlegen und anmelden
invitation-over-heading = Diese Einladung gilt nicht mehr
invitation-over-what = Eine Einladung gilt nur einmal und nur, bis sie abläuft oder zurückgenommen wird; es zählt der Link aus der letzten E-Mail. Bitten Sie die Person, die Sie eingeladen hat, um eine neue.
invitation-taken-heading = Sie haben schon ein Konto
invitation-taken-what = Mit der E-Mail-Adresse dieser Einladung gibt es schon ein Konto. Melden Sie sich damit an.

## Die erste Verwalterin, der erste Verwalter

set-up-heading = Das erste Verwaltungskonto anlegen
set-up-what = Dieses Konto darf alles: Es ist ein Superuser und hat die Rolle { $role }.
set-up-create = Konto anlegen und anmelden
set-up-email-taken = Ein Konto mit dieser E-Mail-Adresse gibt es schon. Machen Sie es auf der Kommandozeile zum Verwaltungskonto, oder wählen Sie eine andere Adresse.
set-up-over = Ein Link zum Einrichten gilt nur einmal, eine Stunde lang, und nur, solange es kein Verwaltungskonto gibt.
set-up-over-known = Gibt es schon ein Verwaltungskonto:
set-up-over-unknown = Wenn nicht: Starten Sie das Gateway neu, das dann einen neuen Link ausgibt, oder rufen Sie { $command } auf.

## Passwörter

password-hint = { $count ->
    [one] Mindestens ein Zeichen.
   *[other] Mindestens { $count } Zeichen.
}
password-too-short = { $count ->
    [one] Das Passwort muss mindestens ein Zeichen lang sein.
   *[other] Das Passwort muss mindestens { $count } Zeichen lang sein.
}
password-nul = Das Passwort darf das Zeichen NUL nicht enthalten.
password-too-long = { $count ->
    [one] Das Passwort darf höchstens ein Zeichen lang sein.
   *[other] Das Passwort darf höchstens { $count } Zeichen lang sein.
}
password-has-email = Das Passwort darf Ihre E-Mail-Adresse nicht enthalten.
password-has-username = Das Passwort darf Ihren Benutzernamen nicht enthalten.
password-has-first-name = Das Passwort darf Ihren Vornamen nicht enthalten.
password-has-last-name = Das Passwort darf Ihren Nachnamen nicht enthalten.
password-has-organization = Das Passwort darf den Namen Ihrer Organisation nicht enthalten.
password-common = Das Passwort ist zu verbreitet.
password-guessable = Das Passwort ist zu leicht zu erraten.
password-rows = Das Passwort ist zu leicht zu erraten. Gerade Tastenreihen sind leicht zu erraten.
password-patterns = Das Passwort ist zu leicht zu erraten. Kurze Muster auf der Tastatur sind leicht zu erraten.
password-repeats = Das Passwort ist zu leicht zu erraten. Wiederholungen wie „aaa“ sind leicht zu erraten.
password-repeated-words = Das Passwort ist zu leicht zu erraten. Wiederholungen wie „abcabcabc“ sind kaum schwerer zu erraten als „abc“.
password-listed = Das Passwort ist zu leicht zu erraten. Es ist eines der häufigsten.
password-nearly-listed = Das Passwort ist zu leicht zu erraten. Es ähnelt einem häufig verwendeten.
password-sequences = Das Passwort ist zu leicht zu erraten. Folgen wie „abc“ oder „6543“ sind leicht zu erraten.
password-years = Das Passwort ist zu leicht zu erraten. Jahreszahlen der letzten Zeit sind leicht zu erraten.
password-word = Das Passwort ist zu leicht zu erraten. Ein einzelnes Wort ist leicht zu erraten.
password-dates = Das Passwort ist zu leicht zu erraten. Datumsangaben sind oft leicht zu erraten.
password-names = Das Passwort ist zu leicht zu erraten. Vor- und Nachnamen sind leicht zu erraten.

## Das Konto

account-heading = Ihr Konto
account-name = Name
account-email = E-Mail
account-not-verified = (nicht bestätigt)
account-username = Benutzername
account-organization = Organisation
account-department = Abteilung
account-phone = Telefon
account-administrator = Verwaltungskonto
account-yes = ja
account-signed-in = Angemeldet
account-signed-in-at = { $at }, { $method }
account-ends = Endet spätestens
account-roles = Rollen
account-role-until = { $role } bis { $until }
account-no-role = Sie haben keine Rolle.
account-permissions = Rechte
account-no-permission = Sie haben keine Rechte.
account-applications = Was Anwendungen erfahren
account-by-default = Im Regelfall
account-header = Kopfzeile
account-value = Wert
account-no-header = Keine Kopfzeile: Die Angaben dafür fehlen oder sind nicht bestätigt.
account-nothing = Nichts.
account-everywhere = Überall abmelden
account-everywhere-hint = Überall heißt: in jedem Browser, auf jedem Gerät und in jedem Skript, das mit diesem Konto angemeldet ist.
method-password = mit einem Passwort
method-provider = über ein Konto bei einem Anbieter

## Registrieren

register-heading = Konto anlegen
register-create = Konto anlegen
register-closed = Hier kann niemand selbst ein Konto anlegen. Bitten Sie die Verwaltung dieser Website um eines.
register-invite = Ein Konto gibt es hier nur auf Einladung. Bitten Sie die Verwaltung dieser Website um eine.
register-too-many = Von hier aus wurden zu viele Konten angelegt. Bitte warten Sie eine Weile.
email-domain = Adressen dieser Domain sind hier nicht zugelassen.
check-mail-register = Eine Nachricht an { $email } ist unterwegs, mit einem Link, der weiterführt. Er gilt eine Stunde lang und nur einmal.
check-mail-verify = Gibt es ein Konto für { $email }, das noch nicht bestätigt ist, so ist ein Link unterwegs. Er gilt eine Stunde lang und nur einmal.
request-verify-what = Geben Sie die E-Mail-Adresse Ihres Kontos ein. Sie bekommen einen Link, der zeigt, dass die Adresse Ihre ist.
request-verify-again = Den Link zum Bestätigen meiner Adresse noch einmal senden
sign-in-deleted = Ihr Konto ist gelöscht, mit allem, was dazugehörte.

## Das Konto ändern

save = Speichern
back-to-account = Zurück zu Ihrem Konto
field-current-password = Aktuelles Passwort
field-new-email = Neue E-Mail-Adresse
field-organization = Organisation (freiwillig)
field-department = Abteilung (freiwillig)
field-phone = Telefon (freiwillig)
current-missing = Bitte geben Sie Ihr aktuelles Passwort ein.
not-recent = Ihre Anmeldung liegt eine Weile zurück. Bitte melden Sie sich ab und wieder an, und versuchen Sie es dann noch einmal.
current-wrong = Das ist nicht Ihr aktuelles Passwort.
email-taken = Diese Adresse gehört zu einem anderen Konto.
profile-heading = Name und Profil ändern
change-email-heading = E-Mail-Adresse ändern
change-email-what = Ihre Adresse ist { $email }. Eine neue gilt sofort, ist aber erst bestätigt, wenn Sie dem Link gefolgt sind, der an sie gesendet wird. Sie werden überall sonst abgemeldet.
change-password-heading = Passwort ändern
change-password-what = Sie werden überall sonst abgemeldet.
account-done-profile = Ihr Profil ist geändert.
account-done-email = Ihre E-Mail-Adresse ist geändert. Bitte öffnen Sie den Link, der an die neue Adresse gesendet wurde.
account-done-password = Ihr Passwort ist geändert. Sie sind überall sonst abgemeldet.
account-download = Herunterladen, was über Sie gespeichert ist
devices-heading = Wo Sie angemeldet sind
devices-done = Abgemeldet.
devices-gone = Diese Sitzung ist schon beendet.
devices-unnamed = Ein Programm, das seinen Namen nicht nennt
devices-this = Dieses Gerät
devices-address = Adresse
devices-unknown = unbekannt
devices-seen = Zuletzt gesehen
devices-here = Hier abmelden
devices-end = Abmelden
devices-end-labelled = Gerät { $number } abmelden
devices-elsewhere = Überall sonst abmelden
delete-heading = Konto löschen
delete-what = Das Konto { $email } wird endgültig gelöscht: Ihr Profil, Ihre Rollen und alle Anmeldungen. Niemand kann es zurückholen.
delete-first = Vielleicht möchten Sie eine Kopie behalten:
delete-last = Bitte bestätigen Sie, dass { $email } gelöscht werden soll.
delete-for-good = Mein Konto endgültig löschen
delete-last-superuser = Sie sind die letzte Person mit einem Verwaltungskonto. Machen Sie erst jemand anderen dazu; dann lässt sich Ihr Konto löschen.

## Fehler

error-cause = Die Ursache, auf Englisch und in Fachbegriffen:
error-command = Dieser Befehl würde es gewähren:
error-command-label = Befehl
status-400 = Ungültige Anfrage
status-400-what = Die Anfrage war nicht zu verstehen. Prüfen Sie die Adresse, und versuchen Sie es noch einmal.
status-401 = Nicht angemeldet
status-401-what = Sie müssen sich anmelden, um diese Seite zu sehen.
status-403 = Kein Zugriff
status-403-what = Sie haben keinen Zugriff auf diese Seite. Wenn Sie meinen, dass Sie ihn haben sollten, fragen Sie die Verwaltung.
status-404 = Nicht gefunden
status-404-what = Unter dieser Adresse gibt es keine Seite. Prüfen Sie, ob Sie sich vertippt haben.
status-405 = Falsche Methode
status-405-what = Diese Adresse nimmt solche Anfragen nicht an. Gehen Sie zurück, und versuchen Sie es noch einmal.
status-408 = Zu langsam
status-408-what = Die Anfrage brauchte zu lange. Versuchen Sie es noch einmal.
status-413 = Zu groß
status-413-what = Was gesendet wurde, ist zu groß.
status-414 = Adresse zu lang
status-414-what = Die Adresse ist zu lang.
status-429 = Zu viele Anfragen
status-429-what = Es gab zu viele Anfragen. Warten Sie ein wenig, und versuchen Sie es noch einmal.
status-431 = Kopfzeilen zu groß
status-431-what = Die Anfrage hatte zu viele oder zu lange Kopfzeilen. Es kann helfen, die Cookies dieser Website zu löschen.
status-4xx = Nicht möglich
status-4xx-what = Die Anfrage ließ sich nicht beantworten.
status-5xx = Etwas ging schief
status-5xx-what = Hier ging etwas schief. Versuchen Sie es noch einmal, und nennen Sie der Verwaltung die Kennung der Anfrage, wenn es so bleibt.
status-502 = Anwendung nicht erreichbar
status-502-what = Die Anwendung hinter dieser Adresse war nicht zu erreichen. Versuchen Sie es gleich noch einmal.
status-503 = Nicht verfügbar
status-503-what = Dieser Dienst ist im Augenblick nicht verfügbar. Versuchen Sie es gleich noch einmal.
status-504 = Anwendung zu langsam
status-504-what = Die Anwendung hinter dieser Adresse brauchte zu lange. Versuchen Sie es gleich noch einmal.
error-unknown-who = Im Augenblick lässt sich nicht prüfen, wer Sie sind. Bitte versuchen Sie es in einer Minute noch einmal.
error-sign-in-down = Die Anmeldung geht im Augenblick nicht. Bitte versuchen Sie es in einer Minute noch einmal.
error-cross-site = Diese Anfrage kam von der Seite einer anderen Website und wurde nicht ausgeführt.
error-foreign-form = Dieses Formular wurde von einer anderen Website gesendet und deshalb nicht bearbeitet.
error-form = Das Formular war nicht zu lesen.
error-sign-in-first = Bitte melden Sie sich an, um dies zu sehen.
error-network = Diese Adresse ist von dort, wo Sie sind, nicht zugänglich. Eine Anmeldung würde daran nichts ändern.
error-roles = Diese Seite verlangt eine dieser Rollen: { $roles }.
error-permissions = Diese Seite verlangt diese Rechte: { $permissions }.
error-verification = Diese Seite verlangt eine bestätigte E-Mail-Adresse, und Ihre ist noch nicht bestätigt.
error-closed = Diese Seite ist für dieses Konto nicht zugänglich.
error-ask = Bitten Sie die Verwaltung dieser Website um Zugriff.
error-broken-off = Die Anfrage war fehlerhaft oder brach ab.

## Anmelden über einen Anbieter

sign-in-with = Mit { $provider } anmelden
vouching-heading = Das hat mit { $provider } nicht geklappt
vouching-not-admitted-heading = Sie dürfen sich hier nicht anmelden
vouching-refused = { $provider } hat Sie nicht angemeldet. Bitte versuchen Sie es noch einmal.
vouching-lost = Die Rückkehr von { $provider } hat nicht geklappt: Es hat zu lange gedauert, geschah in einem anderen Browser, oder Cookies sind gesperrt. Bitte beginnen Sie noch einmal.
vouching-other-person = Es ist jetzt jemand anderes angemeldet als zu Beginn. Bitte beginnen Sie noch einmal.
vouching-no-email = { $provider } nennt Ihre E-Mail-Adresse nicht, darum kann kein Konto für Sie angelegt werden.
vouching-taken = Es gibt schon ein Konto mit dieser E-Mail-Adresse. Melden Sie sich damit an, und verknüpfen Sie { $provider } auf der Kontoseite.
vouching-linked-elsewhere = Dieses Konto von { $provider } ist hier schon mit einem anderen Konto verknüpft; lösen Sie dort zuerst die Verknüpfung.
vouching-not-admitted = Mit diesem Konto von { $provider } dürfen Sie sich hier nicht anmelden.
vouching-not-verified = Die E-Mail-Adresse Ihres Kontos ist noch nicht bestätigt. Bitte öffnen Sie den Link, der Ihnen geschickt wurde, und wählen Sie dann über „Passwort vergessen?“ ein Passwort.
vouching-failed = { $provider } kann gerade nicht gefragt werden oder hat etwas geantwortet, dem nicht zu trauen ist. Bitte versuchen Sie es in einer Minute noch einmal.
links-heading = Andere Wege, sich anzumelden
links-linked = { $provider }, verknüpft { $at }
links-linked-as = { $provider } ({ $email }), verknüpft { $at }
links-link = { $provider } verknüpfen
links-unlink = Verknüpfung mit { $provider } lösen
linking-what-link = Wer sich bei jenem Konto von { $provider } anmelden kann, kann sich von da an auch hier als Sie anmelden.
linking-what-unlink = Von da an kann sich niemand mehr über { $provider } hier als Sie anmelden; auch die Rollen von dort gehen verloren.
departure-what = Sie werden zu { $provider } geschickt.
unlink-last = Das ist der letzte Weg, sich mit Ihrem Konto anzumelden. Setzen Sie ein Passwort, oder verknüpfen Sie einen anderen Anbieter, bevor Sie diese Verknüpfung lösen.
farewell-heading = Abgemeldet
farewell-what = Sie sind hier abgemeldet und werden auch bei { $provider } abgemeldet.
farewell-go-on = Weiter zu { $provider }
