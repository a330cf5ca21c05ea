// SPDX-License-Identifier: Apache-2.0
// violations - packets that end a whole session, with the namespace "/" joined or before that;
// whatever carries them.
export const VIOLATIONS = [
  '4', '4abc', '40', '40[]', '40null', '41{}', '42', '42{}', '42[]', '42[null]', '42[{}]',
  '42["connect"]', '42["disconnect"]', '42["disconnecting"]', '42["newListener"]',
  '42abc["message-with-ack",1]', '42["message"', '42["message"]x', '42/custom,["message"]',
  '43', '431{}', '43/custom,1[]', '41/custom', '44{"message":"x"}', '450-["message"]',
  '4511-["message"]', '45["message"]', '451["message"]', '45-1-["message"]', '451.5-["message"]',
  '451-["message",{"_placeholder":true,"num":1}]', '451-["message",{"_placeholder":true,"num":-1}]',
  '451-["message",{"_placeholder":true,"num":"0"}]', '47',
];

export const BEFORE_CONNECT = ['42["message"]', '41', '430[]', '4hello'];
