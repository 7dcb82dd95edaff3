### Everything the pages say, in English. Values stand in for names and addresses; no text holds HTML.

language-name = English
language-menu = Language

## On many pages

back-to-sign-in = Back to the sign-in page
continue = Continue
another-account = Use another account
sign-in = Sign in
sign-in-again = Sign in again
sign-out = Sign out
signed-in-as = You are signed in as { $who }.
signed-in-as-named = You are signed in as { $who } ({ $email }).
request-id = Request id:
form-out-of-date = This form was out of date. Please send it once more.
field-account = Account
field-email = E-mail
field-name = E-mail or username
field-password = Password
field-new-password = New password
field-first-name = First name (optional)
field-last-name = Last name (optional)
email-wrong = Please enter an e-mail address such as ann@example.com.
field-wrong = Please enter at most 200 characters, without line breaks and other control characters.
cannot-store = This cannot be stored. Please look through what you entered.

## Signing in

sign-in-new-password = Your new password is set. Please sign in with it.
sign-in-form-lost = Your form was not sent, because you were not signed in. Please sign in, then send it once more.
sign-in-remember = Remember me on this device
sign-in-wrong = The e-mail, the username or the password is not right.
sign-in-unverified = Your e-mail is not verified yet. Please open the link that was mailed to you.
sign-in-out-of-date = This form was out of date. Please sign in once more.
sign-in-name-missing = Please enter your e-mail.
sign-in-password-missing = Please enter your password.
sign-in-too-many = There were too many attempts to sign in. Please wait a while.
signed-in-heading = You are signed in
sign-out-out-of-date = The form was out of date, so you are still signed in. Please press the button once more.

## Why signing in does not hold

diagnosis-heading = Signing in did not hold
diagnosis-blocked = Your browser did not send back the cookie that keeps you signed in: cookies are blocked for { $host }.
diagnosis-blocked-remedy = Allow cookies for this site (a private window, an extension or a setting may block them), then sign in again.
diagnosis-insecure = The cookie that keeps you signed in may travel over { $https } only, but this page came over { $http }, so your browser dropped it.
diagnosis-insecure-remedy = Open the address with { $https }. If you did, the administrator has to list the proxy in front of the gateway under { $proxies }, or set { $url } to the address people use.
diagnosis-host = You signed in on another host than the one you want to use, and cookies of one host are not sent to the other.
diagnosis-hosts = The hosts are { $host } and { $other }.
diagnosis-host-remedy = Always use the same address. If these hosts belong together, the administrator has to set { $domain } to the domain they share.
diagnosis-clock = Your browser sent the cookie that keeps you signed in, but the session it belongs to counts as ended.
diagnosis-clock-remedy = Most often the clocks of the machines disagree: the administrator has to set the clock of the gateway’s machines. If somebody ended your sessions just now, sign in again.

## Forgotten passwords

forgot-heading = Forgot your password?
forgot-what = Enter the e-mail of your account. You will get a link with which you can choose a new password.
forgot-send = Send the link
forgot-too-many = Mail was asked for too often. Please wait a while.
check-mail-heading = Check your mail
check-mail-reset = If there is an account for { $email }, a link for choosing a new password is on its way. It works once, within an hour.
check-mail-nothing = Nothing has come after a few minutes? Look in the spam folder, and check that the address is right.
reset-heading = Choose a new password
reset-password-hint = { $count ->
    [one] At least one character.
   *[other] At least { $count } characters.
} You will be signed out everywhere, and every provider that is linked to your account is unlinked; you can link it again.
reset-set = Set the new password

## Links

link-over-heading = This link is no longer valid
link-over-reset = A link to set a password works once, for one hour, and until another one is made or the password or the e-mail address changes. Ask for a new one.
link-over-verify = A link to verify an e-mail address works once, for one hour, and until another one is made or the address changes. Ask for a new one.
link-over-again = Ask for another link
link-lost-heading = Please open the link once more
link-lost-what = This page is opened by a link, and your browser did not keep which.
link-lost-remedy = If opening the link leads here again, cookies are blocked for { $host }. Allow them for this site (a private window, an extension or a setting may block them), then open the link.
link-too-many = There were too many attempts. Please wait a while.
verify-heading = Verify your e-mail address
verify-what = Press the button if { $email } is your e-mail address, and you made an account here with it.
verify-button = Verify this address
verified-heading = Your e-mail address is verified

## Invitations

invitation-heading = Make your account
invitation-what = You have been invited. Choose a password, and your account is made.
invitation-signed-in = You are signed in as { $who }; with the button you become { $email }.
invitation-accept = Create the account and sign in
invitation-over-heading = This invitation is no longer valid
invitation-over-what = An invitation works once, until it ends or is taken back, and only the last letter’s link counts. Ask whoever invited you for another one.
invitation-taken-heading = You have an account already
invitation-taken-what = There is an account with the e-mail of this invitation already. Sign in to it.

## The first administrator

set-up-heading = Set up the first administrator
set-up-what = This account may do everything: it is a superuser and holds the role { $role }.
set-up-create = Create the account and sign in
set-up-email-taken = An account with this e-mail exists already. Make it an administrator with the command line, or choose another e-mail.
set-up-over = A set-up link works once, for one hour, and only while there is no administrator.
set-up-over-known = If there is an administrator already:
set-up-over-unknown = If not: restart the gateway, which prints a new link, or run { $command }.

## Passwords

password-hint = { $count ->
    [one] At least one character.
   *[other] At least { $count } characters.
}
password-too-short = { $count ->
    [one] The password should be at least one character long.
   *[other] The password should be at least { $count } characters long.
}
password-nul = The password should not contain the character NUL.
password-too-long = { $count ->
    [one] The password should be at most one character long.
   *[other] The password should be at most { $count } characters long.
}
password-has-email = The password should not contain your e-mail.
password-has-username = The password should not contain your username.
password-has-first-name = The password should not contain your first name.
password-has-last-name = The password should not contain your last name.
password-has-organization = The password should not contain your organization.
password-common = The password is too common.
password-guessable = The password is too easy to guess.
password-rows = The password is too easy to guess. Straight rows of keys are easy to guess.
password-patterns = The password is too easy to guess. Short keyboard patterns are easy to guess.
password-repeats = The password is too easy to guess. Repeats like “aaa” are easy to guess.
password-repeated-words = The password is too easy to guess. Repeats like “abcabcabc” are only slightly harder to guess than “abc”.
password-listed = The password is too easy to guess. It is one of the commonest.
password-nearly-listed = The password is too easy to guess. It is similar to a commonly used one.
password-sequences = The password is too easy to guess. Sequences like abc or 6543 are easy to guess.
password-years = The password is too easy to guess. Recent years are easy to guess.
password-word = The password is too easy to guess. A word by itself is easy to guess.
password-dates = The password is too easy to guess. Dates are often easy to guess.
password-names = The password is too easy to guess. Names and surnames are easy to guess.

## The account

account-heading = Your account
account-name = Name
account-email = E-mail
account-not-verified = (not verified)
account-username = Username
account-organization = Organization
account-department = Department
account-phone = Phone
account-administrator = Administrator
account-yes = yes
account-signed-in = Signed in
account-signed-in-at = { $at }, { $method }
account-ends = Ends at the latest
account-roles = Roles
account-role-until = { $role } until { $until }
account-no-role = You hold no role.
account-permissions = Permissions
account-no-permission = You hold no permission.
account-applications = What applications get to know
account-by-default = By default
account-header = Header
account-value = Value
account-no-header = No header: what they would be made of is missing or not verified.
account-nothing = Nothing.
account-everywhere = Sign out everywhere
account-everywhere-hint = Everywhere means every browser, device and script that is signed in with this account.
method-password = with a password
method-provider = with an account at a provider

## Registering

register-heading = Create an account
register-create = Create the account
register-closed = Nobody can create an account here by themselves. Ask an administrator of this site for one.
register-invite = You need an invitation to make an account here. Ask an administrator of this site for one.
register-too-many = Accounts were created too often from here. Please wait a while.
email-domain = Addresses of this domain are not admitted here.
check-mail-register = A message to { $email } is on its way, with a link that leads on. It works once, within an hour.
check-mail-verify = If there is an account for { $email } that is not verified yet, a link is on its way. It works once, within an hour.
request-verify-what = Enter the e-mail of your account. You will get a link that shows that the address is yours.
request-verify-again = Send the link that verifies my address again
sign-in-deleted = Your account is deleted, with everything that belonged to it.

## Changing the account

save = Save
back-to-account = Back to your account
field-current-password = Current password
field-new-email = New e-mail
field-organization = Organization (optional)
field-department = Department (optional)
field-phone = Phone (optional)
current-missing = Please enter your current password.
not-recent = You signed in a while ago. Please sign out, sign in again, and then try once more.
current-wrong = This is not your current password.
email-taken = This address belongs to another account.
profile-heading = Change your name and profile
change-email-heading = Change your e-mail
change-email-what = Your address is { $email }. A new one is in force at once, but verified only once you have followed the link that is mailed to it. You will be signed out everywhere else.
change-password-heading = Change your password
change-password-what = You will be signed out everywhere else.
account-done-profile = Your profile is changed.
account-done-email = Your e-mail is changed. Please open the link that was mailed to the new address.
account-done-password = Your password is changed. You are signed out everywhere else.
account-download = Download what is kept about you
devices-heading = Where you are signed in
devices-done = Signed out.
devices-gone = This session has ended already.
devices-unnamed = A program that does not say its name
devices-this = This device
devices-address = Address
devices-unknown = unknown
devices-seen = Last seen
devices-here = Sign out here
devices-end = Sign out
devices-end-labelled = Sign out device { $number }
devices-elsewhere = Sign out everywhere else
delete-heading = Delete your account
delete-what = The account { $email } will be gone for good: your profile, your roles, and every place where you are signed in. Nobody can bring it back.
delete-first = You may want to keep a copy:
delete-last = Please confirm that { $email } is to be deleted.
delete-for-good = Delete my account for good
delete-last-superuser = You are the last administrator. Make somebody else one first; then your account can be deleted.

## Errors

error-cause = The cause, in technical terms:
error-command = This command would grant it:
error-command-label = Command
status-400 = Bad request
status-400-what = The request could not be understood. Check the address and try again.
status-401 = Not signed in
status-401-what = You need to sign in to see this page.
status-403 = No access
status-403-what = You do not have access to this page. If you think you should, ask an administrator.
status-404 = Not found
status-404-what = There is no page at this address. Check it for a typing mistake.
status-405 = Wrong method
status-405-what = This address does not take that kind of request. Go back and try again.
status-408 = Too slow
status-408-what = The request took too long to arrive. Try again.
status-413 = Too large
status-413-what = What was sent is too large.
status-414 = Address too long
status-414-what = The address is too long.
status-429 = Too many requests
status-429-what = There were too many requests. Wait a little and try again.
status-431 = Headers too large
status-431-what = The request carried too many or too long headers. Deleting the cookies of this site may help.
status-4xx = Not possible
status-4xx-what = The request could not be answered.
status-5xx = Something went wrong
status-5xx-what = Something went wrong here. Try again, and tell an administrator the request id if it stays.
status-502 = Application not reachable
status-502-what = The application behind this address could not be reached. Try again in a moment.
status-503 = Not available
status-503-what = This service is unavailable at the moment. Try again in a moment.
status-504 = Application too slow
status-504-what = The application behind this address took too long to answer. Try again in a moment.
error-unknown-who = Who you are cannot be checked at the moment. Please try again in a minute.
error-sign-in-down = Signing in does not work at the moment. Please try again in a minute.
error-cross-site = This request came from a page of another site and was not carried out.
error-foreign-form = This form was sent from another site, so it was not looked at.
error-form = The form could not be read.
error-sign-in-first = Please sign in to see this.
error-network = This address is not open to where you are. Signing in would not change that.
error-roles = This page needs one of these roles: { $roles }.
error-permissions = This page needs these permissions: { $permissions }.
error-verification = This page needs a verified e-mail address, and yours is not verified yet.
error-closed = This page is not open to this account.
error-ask = Ask an administrator of this site for access.
error-broken-off = The request was malformed or broke off.

## Signing in by a provider

sign-in-with = Sign in with { $provider }
vouching-heading = This did not work with { $provider }
vouching-not-admitted-heading = You may not sign in here
vouching-refused = { $provider } did not sign you in. Please try again.
vouching-lost = Coming back from { $provider } did not work: it took too long, was done in another browser, or cookies are blocked. Please begin once more.
vouching-other-person = Somebody else is signed in now than when this began. Please begin once more.
vouching-no-email = { $provider } does not tell your e-mail, so no account can be made for you.
vouching-taken = There is an account with this e-mail already. Sign in to it, then link { $provider } on its page.
vouching-linked-elsewhere = This account of { $provider } is linked to another account here; unlink it there first.
vouching-not-admitted = You may not sign in here with this account of { $provider }.
vouching-not-verified = The e-mail of your account is not verified yet. Please open the link that was mailed to you, then choose a password by “Forgot your password?”.
vouching-failed = { $provider } cannot be asked at the moment, or answered something that is not to be trusted. Please try again in a minute.
links-heading = Other ways to sign in
links-linked = { $provider }, linked { $at }
links-linked-as = { $provider } ({ $email }), linked { $at }
links-link = Link { $provider }
links-unlink = Unlink { $provider }
linking-what-link = Whoever can sign in to that account of { $provider } can sign in here as you from then on.
linking-what-unlink = From then on nobody can sign in here by { $provider } as you; the roles that came from there go, too.
departure-what = You are being sent to { $provider }.
unlink-last = This is the last way to sign in to your account. Set a password, or link another provider, before you take it away.
farewell-heading = Signed out
farewell-what = You are signed out here, and are being signed out at { $provider } as well.
farewell-go-on = Go on to { $provider }
